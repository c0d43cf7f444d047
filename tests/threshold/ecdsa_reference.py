"""``docs/spec/ecdsa.md`` written once more, in plain Python and slowly: both parties, for the recorded transcripts.

Section numbers are the specification's. Ristretto255 follows RFC 9496, POLYVAL RFC 8452; AES and ChaCha20 are
``cryptography``'s, secp256k1 is ``coincurve``'s. Nothing here is constant time.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from coincurve import PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

Q = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
XI = 416
ROWS = 2 * XI


def h(tag: str, *parts: bytes) -> bytes:
    """§1."""
    name = b"cosigner/ecdsa/v1/" + tag.encode()
    return hashlib.sha256(bytes([len(name)]) + name + b"".join(parts)).digest()


def integer(data: bytes) -> int:
    assert len(data) == 32
    return int.from_bytes(data) % Q


def scalar(value: int) -> bytes:
    return (value % Q).to_bytes(32)


def xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def aes(key: bytes, blocks: bytes) -> bytes:
    encryptor = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(blocks) + encryptor.finalize()


class Draws:
    """§8: a party's randomness, the ChaCha20 keystream under its key."""

    def __init__(self, key: bytes) -> None:
        self._stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()

    def bytes(self, count: int) -> bytes:
        return self._stream.update(bytes(count))

    def scalar(self) -> int:
        return integer(self.bytes(32))


# secp256k1


def base(k: int) -> PublicKey:
    return PublicKey.from_secret(scalar(k))


def times(point: PublicKey, k: int) -> PublicKey:
    return point.multiply(scalar(k))


def plus(*points: PublicKey) -> PublicKey:
    return PublicKey.combine_keys(list(points))


def x_of(point: PublicKey) -> int:
    return integer(point.format()[1:])


# Ristretto255, RFC 9496

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def negative(x: int) -> bool:
    return x % P % 2 == 1


def absolute(x: int) -> int:
    return -x % P if negative(x) else x % P


def sqrt_ratio(u: int, v: int) -> tuple[bool, int]:
    """RFC 9496 §4.2."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * ROOT % P):
        r = r * ROOT % P
    return check in (u % P, -u % P), absolute(r)


INVSQRT_A_MINUS_D = sqrt_ratio(1, -1 - D)[1]
SQRT_AD_MINUS_ONE = next(
    r for r in [sqrt_ratio(-D - 1, 1)[1]] for r in (r, P - r) if r % 2 == 1
)  # the specification's constant is the odd root
ONE_MINUS_D_SQ, D_MINUS_ONE_SQ = (1 - D * D) % P, (D - 1) ** 2 % P


def add(a: Point, b: Point) -> Point:
    x1, y1, z1, t1 = a
    x2, y2, z2, t2 = b
    left, right = (y1 - x1) * (y2 - x2), (y1 + x1) * (y2 + x2)
    c, d = 2 * D * t1 * t2, 2 * z1 * z2
    e, f, g, k = right - left, d - c, d + c, right + left
    return e * f % P, g * k % P, f * g % P, e * k % P


def ristretto_times(point: Point, k: int) -> Point:
    result: Point = (0, 1, 1, 0)
    while k:
        if k & 1:
            result = add(result, point)
        point = add(point, point)
        k >>= 1
    return result


def encode(point: Point) -> bytes:
    """RFC 9496 §4.3.2."""
    x0, y0, z0, t0 = point
    u1, u2 = (z0 + y0) * (z0 - y0) % P, x0 * y0 % P
    invsqrt = sqrt_ratio(1, u1 * u2 * u2)[1]
    den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
    z_inv = den1 * den2 * t0 % P
    if negative(t0 * z_inv):
        x, y, den = y0 * ROOT % P, x0 * ROOT % P, den1 * INVSQRT_A_MINUS_D % P
    else:
        x, y, den = x0, y0, den2
    if negative(x * z_inv):
        y = -y
    return absolute(den * (z0 - y)).to_bytes(32, "little")


def decode(data: bytes) -> Point:
    """RFC 9496 §4.3.1."""
    s = int.from_bytes(data, "little")
    assert s < P
    assert not negative(s)
    u1, u2 = (1 - s * s) % P, (1 + s * s) % P
    v = (-D * u1 * u1 - u2 * u2) % P
    square, invsqrt = sqrt_ratio(1, v * u2 * u2)
    x = absolute(2 * s * invsqrt * u2)
    y = u1 * invsqrt * invsqrt * u2 * v % P
    assert square
    assert not negative(x * y)
    assert y != 0
    return x, y, 1, x * y % P


def elligator(data: bytes) -> Point:
    """RFC 9496 §4.3.4, MAP."""
    t = int.from_bytes(data, "little") % 2**255 % P
    r = ROOT * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    square, s = sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -absolute(s * t) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0, w1, w2, w3 = 2 * s * v, n * SQRT_AD_MINUS_ONE, 1 - s * s, 1 + s * s
    return w0 * w3 % P, w2 * w1 % P, w1 * w3 % P, w0 * w2 % P


def one_way_map(data: bytes) -> Point:
    return add(elligator(data[:32]), elligator(data[32:]))


B = decode(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
L = 2**252 + 27742317777372353535851937790883648493


def wide(data: bytes) -> int:
    return int.from_bytes(data, "little") % L


# §2


def slot_point(i: int, slot: int, other: bytes) -> Point:
    name = b"cosigner/ecdsa/v1/base-ot/point"
    return one_way_map(hashlib.sha512(bytes([len(name)]) + name + bytes([i, slot]) + other).digest())


def minus(point: Point) -> Point:
    x, y, z, t = point
    return -x % P, y, z, -t % P


@dataclass
class Setup:
    """A whole session setup."""

    message: bytes
    answer: bytes
    delta: bytes
    binding: bytes
    pairs: list[list[bytes]]
    chosen: list[bytes]


def setup(client: Draws, enclave: Draws, session_context: bytes) -> Setup:
    offers = [wide(client.bytes(64)) for _ in range(128)]
    encoded = [encode(ristretto_times(B, o)) for o in offers]
    message = bytes([1, 0x11]) + b"".join(encoded)
    delta = enclave.bytes(16)
    answer, pairs, chosen = bytes([1, 0x12]), [], []
    for i, (o, offer) in enumerate(zip(offers, encoded, strict=True)):
        c = delta[i // 8] >> i % 8 & 1
        a, other = wide(enclave.bytes(64)), encode(one_way_map(enclave.bytes(64)))
        own = encode(add(ristretto_times(B, a), minus(slot_point(i, c, other))))
        r = [own, other] if c == 0 else [other, own]
        answer += r[0] + r[1]

        def seed(slot: int, shared: Point, *, i: int = i, offer: bytes = offer, r: list[bytes] = r) -> bytes:
            return h("base-ot/seed", bytes([i, slot]), offer, r[0], r[1], encode(shared))

        chosen.append(seed(c, ristretto_times(decode(offer), a)))
        pairs.append(
            [seed(b, ristretto_times(add(decode(r[b]), slot_point(i, b, r[1 - b])), o)) for b in (0, 1)]
        )
    binding = h("session", session_context, message, answer)
    bound = [[h("session/seed", binding, seed) for seed in pair] for pair in pairs]
    return Setup(
        message, answer, delta, binding, bound, [h("session/seed", binding, seed) for seed in chosen]
    )


# §3


def derive(key: PublicKey, chain_code: bytes, path: list[int]) -> tuple[PublicKey, int]:
    tweak = 0
    for element in path:
        mac = hmac.new(chain_code, key.format() + element.to_bytes(4), "sha512").digest()
        key, chain_code = plus(key, base(int.from_bytes(mac[:32]))), mac[32:]
        tweak += int.from_bytes(mac[:32])
    return key, tweak % Q


def gadget(context: bytes, batch: int) -> list[int]:
    blocks = aes(h("gadget", context, bytes([batch])), b"".join(i.to_bytes(16) for i in range(2 * XI)))
    return [integer(blocks[32 * j : 32 * j + 32]) for j in range(XI)]


# §4


def g(seed: bytes, index: int) -> int:
    """A column as a number: bit j of the column is bit j."""
    blocks = b"".join(index.to_bytes(8) + n.to_bytes(8) for n in range(8))
    return int.from_bytes(aes(seed, blocks)[:120], "little")


def field_times(a: int, b: int) -> int:
    """RFC 8452 §3: a * b * x^-128 in POLYVAL's field."""
    product = 0
    for i in range(128):
        if a >> i & 1:
            product ^= b << i
    modulus = 1 << 128 | 1 << 127 | 1 << 126 | 1 << 121 | 1
    for i in range(128):
        if product >> i & 1:
            product ^= modulus << i
    return product >> 128


def column_hash(challenge: int, column: int) -> int:
    total = 0
    for block in range(1, 8):
        total = field_times(total ^ (column >> 128 * block & (1 << 128) - 1), challenge)
    return total ^ column & (1 << 128) - 1


def rows(columns: list[int]) -> list[int]:
    """Row j as a number: bit i comes from column i."""
    text = [f"{column:0960b}"[::-1] for column in columns]
    return [int("".join(bits)[::-1], 2) for bits in list(zip(*text, strict=True))[128:]]


# §5


def pads(transcript: bytes, j: int, row: int, count: int) -> list[int]:
    key = int.from_bytes(h("pads", transcript)[:16], "little") ^ j // 8
    key_bytes = key.to_bytes(16, "little")
    y = aes(key_bytes, row.to_bytes(16, "little"))
    blocks = [
        xor(aes(key_bytes, xor(y, (256 * j + c).to_bytes(16, "little"))), y) for c in range(1, 2 * count + 1)
    ]
    return [integer(blocks[2 * i] + blocks[2 * i + 1]) for i in range(count)]


# §6


@dataclass
class Key:
    """A key's public data and all its secret shares."""

    t: int
    n: int
    epoch: int
    public: bytes
    chain_code: bytes
    shares: list[int]


@dataclass
class Signed:
    """A signature with everything on the way to it."""

    message1: bytes
    message2: bytes
    context: bytes
    transcript: bytes
    beta0: int
    signature: bytes
    recovery_id: int
    public_key: bytes


def sign(
    session: Setup,
    key: Key,
    *,
    index: int,
    digest: bytes,
    path: list[int],
    parties: tuple[int, int],
    draws: tuple[Draws, Draws],
) -> Signed:
    c, e = parties
    pk, tweak = derive(PublicKey(key.public), key.chain_code, path)
    context = h(
        "context",
        session.binding,
        index.to_bytes(8),
        *(n.to_bytes(2) for n in (c, e, key.t, key.n)),
        key.epoch.to_bytes(4),
        key.chain_code,
        key.public,
        base(key.shares[c - 1]).format(),
        base(key.shares[e - 1]).format(),
        bytes([len(path)]),
        *(element.to_bytes(4) for element in path),
        pk.format(),
        digest,
    )
    t_c = key.shares[c - 1] * e * pow(e - c, -1, Q) % Q
    t_e = (key.shares[e - 1] * c * pow(c - e, -1, Q) + tweak) % Q
    z = integer(digest)
    gadgets = gadget(context, 0) + gadget(context, 1)
    # 6.1
    x = int.from_bytes(draws[0].bytes(120), "little")
    bits = [x >> 128 + j & 1 for j in range(ROWS)]
    beta0 = sum(gadgets[j] * bits[j] for j in range(XI)) % Q
    beta1 = sum(gadgets[j] * bits[j] for j in range(XI, ROWS)) % Q
    k_c = pow(beta0, -1, Q)
    d = base(k_c)
    message1 = bytes([1, 0x21]) + index.to_bytes(8) + context + d.format() + scalar(t_c * beta0 - beta1)
    delta1 = (t_c * beta0 - beta1) % Q
    t_columns = [g(pair[0], index) for pair in session.pairs]
    sent = [t ^ g(pair[1], index) ^ x for t, pair in zip(t_columns, session.pairs, strict=True)]
    message1 += b"".join(column.to_bytes(120, "little") for column in sent)
    chi = int.from_bytes(h("extension/challenge", context, message1)[:16], "little")
    t_hashes = b"".join(column_hash(chi, t).to_bytes(16, "little") for t in t_columns)
    message1 += column_hash(chi, x).to_bytes(16, "little") + h("extension/check", context, t_hashes)
    transcript = h("transcript", context, message1)
    # §4, the enclave's side
    delta = int.from_bytes(session.delta, "little")
    q_columns = [
        g(seed, index) ^ (column if delta >> i & 1 else 0)
        for i, (seed, column) in enumerate(zip(session.chosen, sent, strict=True))
    ]
    t_rows, q_rows = rows(t_columns), rows(q_columns)
    assert all(q == t ^ (delta if bit else 0) for q, t, bit in zip(q_rows, t_rows, bits, strict=True))
    # 6.2
    k_prime = draws[1].scalar()
    r_prime = times(d, k_prime)
    k_e = (k_prime + integer(h("nonce", transcript, r_prime.format()))) % Q
    r = times(d, k_e)
    n = draws[1].scalar()
    challenge_e = integer(h("proof", transcript, d.format(), r.format(), times(d, n).format()))
    phi, check0, check1 = draws[1].scalar(), draws[1].scalar(), draws[1].scalar()
    inverse = pow(k_e, -1, Q)
    inputs = [[(inverse + phi) % Q, t_e * inverse % Q, check0], [inverse, check1]]
    u0 = [pads(transcript, j, q_rows[j], 3 if j < XI else 2) for j in range(ROWS)]
    u1 = [pads(transcript, j, q_rows[j] ^ delta, 3 if j < XI else 2) for j in range(ROWS)]
    taus = [
        [(a - b + value) % Q for a, b, value in zip(u0[j], u1[j], inputs[j // XI], strict=True)]
        for j in range(ROWS)
    ]
    message2 = bytes([1, 0x22]) + transcript + r_prime.format()
    message2 += scalar(challenge_e) + scalar(n + challenge_e * k_e)
    message2 += b"".join(scalar(tau) for row in taus for tau in row)
    challenge = h("multiply/challenge", transcript, message2)
    theta = [
        [integer(h("multiply/theta", challenge, bytes([k, i]))) for i in range(count)]
        for k, count in ((0, 2), (1, 1))
    ]

    def combine(batch: int, row: list[int]) -> int:
        *values, last = row
        return (last + sum(a * b for a, b in zip(theta[batch], values, strict=True))) % Q

    etas = [combine(k, inputs[k]) for k in (0, 1)]
    checked = b"".join(scalar(-combine(j // XI, u0[j])) for j in range(ROWS))
    message2 += scalar(etas[0]) + scalar(etas[1]) + h("multiply/rows", challenge, checked)

    def total(values: list[list[int]], batch: int, column: int) -> int:
        return sum(gadgets[j] * values[j][column] for j in range(batch * XI, batch * XI + XI)) % Q

    t1 = -total(u0, 0, 0) % Q
    t2 = (-total(u0, 0, 1) - total(u0, 1, 0) + delta1 * inverse) % Q
    gamma1 = plus(base(k_e * phi + 1), times(r, -t1))
    gamma2 = plus(times(pk, t1), base(-t2))
    m = t1 * z + t2 * x_of(r)
    message2 += xor(scalar(phi), h("gamma", transcript, b"\1", gamma1.format()))
    message2 += xor(scalar(m), h("gamma", transcript, b"\2", gamma2.format()))
    # 6.3
    d_rows = []
    for j in range(ROWS):
        chosen = pads(transcript, j, t_rows[j], 3 if j < XI else 2)
        d_rows.append([(u + bits[j] * tau) % Q for u, tau in zip(chosen, taus[j], strict=True)])
    again = b"".join(scalar(bits[j] * etas[j // XI] - combine(j // XI, d_rows[j])) for j in range(ROWS))
    assert again == checked
    t1 = total(d_rows, 0, 0)
    t2 = (total(d_rows, 0, 1) + total(d_rows, 1, 0)) % Q
    assert times(r, t1) == gamma1
    t1 = (t1 - beta0 * phi) % Q
    assert plus(base(t2), times(pk, -t1)) == gamma2
    s = (m + t1 * z + t2 * x_of(r)) % Q
    encoded = r.format()
    recovery_id = (encoded[0] & 1) + 2 * (int.from_bytes(encoded[1:]) >= Q)
    if s > Q // 2:
        s, recovery_id = Q - s, recovery_id ^ 1
    signature = scalar(x_of(r)) + scalar(s)
    return Signed(message1, message2, context, transcript, beta0, signature, recovery_id, pk.format())
