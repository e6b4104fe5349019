//! Help pages, completions and `docs/cli.md`, which holds them all.

use std::{fmt::Write as _, fs, path::Path};

use crate::support::Home;

/// Everything behind this line of `docs/cli.md` is made from the help pages.
const MARK: &str = "<!-- From here on: the help pages. KMSFS_BLESS=1 cargo test --test cli reference -->\n";

/// Names of the commands on a help page: lines of two spaces, a name, two spaces or more, a description.
fn commands(page: &str) -> Vec<String> {
    let options = page.find("\nOptions:").unwrap_or(page.len());
    page[..options]
        .lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.starts_with(char::is_alphabetic) && name != "help" && !name.contains(' '))
        .collect()
}

fn pages(home: &Home, path: &[&str], out: &mut String) {
    let args: Vec<&str> = path.iter().copied().chain(["--help"]).collect();
    // What clap wraps at depends on the terminal; here there is none.
    let page = home.ok(&args);
    let title = ["kmsfs"].iter().chain(path).copied().collect::<Vec<_>>().join(" ");
    let page = page.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let _ = write!(out, "\n## {title}\n\n```text\n{}\n```\n", page.trim_end());
    if !page.contains("<COMMAND>") {
        return;
    }
    for command in commands(&page) {
        let path: Vec<&str> = path.iter().copied().chain([command.as_str()]).collect();
        pages(home, &path, out);
    }
}

#[test]
fn the_reference_in_docs_is_what_help_says() {
    let home = Home::empty();
    let mut made = String::new();
    pages(&home, &[], &mut made);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let text = fs::read_to_string(&file).unwrap();
    let (preface, found) = text.split_once(MARK).expect("docs/cli.md has its mark");
    if std::env::var_os("KMSFS_BLESS").is_some() {
        fs::write(&file, format!("{preface}{MARK}{made}")).unwrap();
        return;
    }
    assert!(
        found == made,
        "docs/cli.md is not what --help says; run with KMSFS_BLESS=1 and read the difference"
    );
}

#[test]
fn the_preface_lists_every_exit_code() {
    let home = Home::empty();
    let help = home.ok(&["--help"]);
    let (_, codes) = help.split_once("Exit codes:\n").expect("a table of exit codes");
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let codes: Vec<_> = codes.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(codes.len(), 16);
    for line in codes {
        let (code, meaning) = line.split_once("  ").expect("a code and its meaning");
        let row = format!("| {code} | {meaning} |");
        assert!(docs.contains(&row), "docs/cli.md lacks: {row}");
    }
}

#[test]
fn pages_fit_a_terminal_and_name_the_first_steps() {
    let home = Home::empty();
    let help = home.ok(&["--help"]);
    for words in ["First steps:", "kmsfs init", "Environment:", "KMSFS_KEYSTORE", "Exit codes:"] {
        assert!(help.contains(words), "{words}");
    }
    assert!(home.ok(&["-h"]).lines().count() < 40, "the short page fits a screen");
}

#[test]
fn a_usage_error_has_its_code_and_does_nothing() {
    let home = Home::empty();
    for args in [&["no-such-command"][..], &[], &["key", "create", "--passphrase", "x"]] {
        assert_eq!(home.run(args).status.code(), Some(2), "{args:?}");
    }
    assert!(!home.keystore().exists());
}

#[test]
fn completions_come_for_every_shell() {
    let home = Home::empty();
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.ok(&["completions", shell]).contains("schedule-deletion"), "{shell}");
    }
}
