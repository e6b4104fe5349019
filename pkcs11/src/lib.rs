//! `libkmsfs_pkcs11.so`: PKCS#11 2.40 and 3.0 on a kmsfs KMS service.
//!
//! A thin client: keys stay in the service, which does everything that takes a secret one, and holds the rules. Here are
//! C's pointers and lengths, sessions, messages that come in parts, and digests.
//!
//! The service is at the socket that `KMSFS_PKCS11_SOCKET` names, else where `kmsfs kms serve` of the same user has it.
//! There is one slot. Its token is the service's keystore, and is absent while that cannot be used: no service, or a
//! sealed HSM. With `KMSFS_PKCS11_DEBUG` set, why a call failed is told on standard error, which return codes cannot.
//!
//! | module | what it is for |
//! |---|---|
//! | `entry` | PKCS#11's functions, a file per chapter |
//! | `functions` | the tables that programs get them by |
//! | `library` | what is between C_Initialize and C_Finalize: sessions, handles, the login |
//! | `session` | a session and what goes on in it |
//! | `cipher`, `signing` | a message that is encrypted or signed, in parts or at once |
//! | `service` | the service's operations |
//! | `parameter` | parameters of mechanisms, out of C structures |
//! | `raw` | pointers and lengths |

#[cfg(not(all(target_pointer_width = "64", target_endian = "little")))]
compile_error!("CK_ULONG goes over the wire as it is: 8 bytes, little-endian");

mod cipher;
mod entry;
mod functions;
mod library;
mod parameter;
mod raw;
mod service;
mod session;
mod signing;
