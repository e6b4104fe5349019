//! Tests of the cache, the keyring and the local provider together.
