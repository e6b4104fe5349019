//! `kmsfs completions`: what makes Tab work in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Failure, output};

/// Arguments of `kmsfs completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
To have them in every new shell:
  kmsfs completions bash > ~/.local/share/bash-completion/completions/kmsfs
  kmsfs completions zsh > \"${fpath[1]}/_kmsfs\"
  kmsfs completions fish > ~/.config/fish/completions/kmsfs.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs the command.
///
/// # Errors
/// Standard output cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kmsfs", &mut script);
    output::bytes(&script)
}
