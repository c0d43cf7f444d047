//! The two client requests of memcheck that ctgrind needs (valgrind/memcheck.h, valgrind/valgrind.h; Langley, "Checking
//! that functions are constant time with Valgrind", 2010).

const MAKE_UNDEFINED: usize = ((b'M' as usize) << 24 | (b'C' as usize) << 16) + 1;
const MAKE_DEFINED: usize = MAKE_UNDEFINED + 1;
const RUNNING_ON_VALGRIND: usize = 0x1001;

/// Marks bytes as secret: memcheck reports every branch and every address that depends on them.
pub(crate) fn secret(bytes: &mut [u8]) {
    request(MAKE_UNDEFINED, bytes.as_ptr() as usize, bytes.len());
}

/// Marks bytes as public again.
pub(crate) fn public(bytes: &[u8]) {
    request(MAKE_DEFINED, bytes.as_ptr() as usize, bytes.len());
}

/// Whether anything is checked at all.
pub(crate) fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0, 0) != 0
}

#[cfg(target_arch = "x86_64")]
fn request(code: usize, address: usize, len: usize) -> usize {
    let arguments = [code, address, len, 0, 0, 0];
    let mut result = 0_usize;
    // SAFETY: this sequence changes nothing on a processor; valgrind knows it and reads the six words at rax.
    unsafe {
        std::arch::asm!(
            "rol rdi, 3", "rol rdi, 13", "rol rdi, 61", "rol rdi, 51", "xchg rbx, rbx",
            in("rax") arguments.as_ptr(), inout("rdx") result, inout("rdi") 0_usize => _,
        );
    }
    result
}
