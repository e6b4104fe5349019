//! The `kmsfs` program; everything it does is in the library's [`kmsfs::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    kmsfs::cli::main()
}
