//! `kmsfs completions`: what makes Tab work in a shell.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use super::{Cli, Failure, Global, output};

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
pub fn run(args: &Args, global: &Global) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "kmsfs", &mut script);
    if global.json {
        let script = String::from_utf8_lossy(&script);
        return output::json(&json!({ "shell": args.shell.to_string(), "script": script }));
    }
    output::bytes(&script)
}
