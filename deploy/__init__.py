"""What an operator needs to run a Cosigner enclave on EC2. Not part of any image; run from a checkout.

``cloudformation/``  the key and its role; the instance, table, bucket, alarms
``render``           manifest, key policy and key template from what a release ships
``config/``          the host's configuration, the allocator's, the enclave's resources
``systemd/``         units; ``install.sh`` puts all of it on an instance
"""
