//! The `kmsfs` program.

fn main() {}
