//! pkcs11-tool, p11-kit, OpenSSL and OpenSSH.

use crate::common::tools::ok;
use crate::hsm::library;
use crate::token::{PIN, Token};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

const RSA: &[&str] = &["--keypairgen", "--key-type", "rsa:2048", "--usage-sign", "--usage-decrypt"];
const EC: &[&str] = &["--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign"];

fn make(token: &Token, kind: &[&str], label: &str, id: &str) {
    token.tool(&[kind, &["--label", label, "--id", id]].concat());
}

#[test]
fn pkcs11_tool_finds_no_error() {
    let token = Token::start();
    make(&token, RSA, "rsa", "01");
    make(&token, EC, "ec", "02");
    make(&token, &["--keypairgen", "--key-type", "EC:edwards25519"], "ed", "03");
    make(&token, &["--keygen", "--key-type", "AES:32", "--sensitive"], "aes", "04");
    let said = token.tool(&["--test"]);
    assert!(said.contains("No errors"), "{said}");
    let objects = token.tool(&["--list-objects"]);
    assert!(["rsa", "ec", "ed", "aes"].iter().all(|label| objects.contains(label)), "{objects}");
    assert!(objects.contains("sensitive, always sensitive, never extractable, local"), "{objects}");
}

/// p11-kit's proxy, which programs of the system load instead of the libraries that it is configured with.
#[test]
fn p11_kit_passes_the_token_on() {
    crate::common::tools::need_root();
    let token = Token::start();
    make(&token, EC, "through the proxy", "0a");
    let modules = token.scratch().join("modules");
    fs::create_dir(&modules).unwrap();
    fs::write(modules.join("kmsfs.module"), format!("module: {}\n", library().display())).unwrap();
    // Root's p11-kit reads the system's configuration alone: here in a view of it that nobody else has.
    let script = "mount --bind \"$1\" /usr/share/p11-kit/modules && exec p11-kit list-modules";
    let mut list = token.command("unshare");
    list.args(["--mount", "sh", "-c", script, "sh"]).arg(&modules);
    let said = ok(&mut list);
    assert!(said.contains("kmsfs KMS service") && said.contains("token: kmsfs"), "{said}");
}

/// Through the engine that Debian has. The public key leaves the token; the private one signs in it.
#[test]
fn openssl_signs_with_a_key_of_the_token() {
    let token = Token::start();
    make(&token, RSA, "rsa", "01");
    make(&token, EC, "ec", "02");
    let script = r#"
        printf 'to be signed' >data
        for key in rsa ec; do
            pkcs11-tool --module "$LIBRARY" --read-object --type pubkey --label $key --output-file $key.der
            openssl pkey -pubin -inform DER -in $key.der -out $key.pem
            openssl dgst -engine pkcs11 -keyform engine -sign "pkcs11:token=kmsfs;object=$key;type=private;pin-value=$PIN" \
                -sha256 -out $key.signature data
            openssl dgst -sha256 -verify $key.pem -signature $key.signature data
            printf 'something else' >other
            ! openssl dgst -sha256 -verify $key.pem -signature $key.signature other
        done
    "#;
    let mut command = token.command("bash");
    command.args(["-euo", "pipefail", "-c", script]).current_dir(token.scratch());
    ok(command.env("PKCS11_MODULE_PATH", library()).env("LIBRARY", library()).env("PIN", PIN));
}

/// A server of this test's own, which lets in whoever has the private key of the token.
struct Sshd(Child);

impl Sshd {
    fn start(directory: &Path, port: u16) -> Sshd {
        ok(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(directory.join("host")));
        fs::create_dir_all("/run/sshd").unwrap();
        let configuration = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\n\
             PidFile none\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n",
            directory.display()
        );
        fs::write(directory.join("sshd_config"), configuration).unwrap();
        let mut command = Command::new("/usr/sbin/sshd");
        command.args(["-D", "-e", "-f"]).arg(directory.join("sshd_config"));
        Sshd(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The login needs root here: only root's server may let somebody in.
#[test]
fn openssh_logs_in_with_a_key_of_the_token() {
    crate::common::tools::need_root();
    let token = Token::start();
    make(&token, RSA, "login", "01");
    make(&token, EC, "login", "02");
    let directory = token.scratch();
    let public = ok(token.command("ssh-keygen").arg("-D").arg(library()));
    assert!(public.contains("ssh-rsa") && public.contains("ecdsa-sha2-nistp256"), "{public}");

    let port = free_port();
    fs::write(directory.join("authorized"), &public).unwrap();
    let _server = Sshd::start(&directory, port);
    let ask = directory.join("askpass");
    fs::write(&ask, format!("#!/bin/sh\necho {PIN}\n")).unwrap();
    fs::set_permissions(&ask, PermissionsExt::from_mode(0o700)).unwrap();
    let login = || {
        let mut command = token.command("ssh");
        command.args(["-F", "none", "-o", "IdentitiesOnly=no", "-o", "StrictHostKeyChecking=no"]);
        command.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "PreferredAuthentications=publickey"]);
        command.args(["-p", &port.to_string(), "-I"]).arg(library()).args(["root@127.0.0.1", "echo let in"]);
        command.env("SSH_ASKPASS", &ask).env("SSH_ASKPASS_REQUIRE", "force").env_remove("SSH_AUTH_SOCK");
        command.env("HOME", &directory).stdin(Stdio::null()).output().unwrap()
    };
    let mut output = login();
    for _ in 0..50 {
        if !String::from_utf8_lossy(&output.stderr).contains("Connection refused") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        output = login();
    }
    let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(said.trim(), "let in", "{error}");

    fs::write(directory.join("authorized"), "").unwrap();
    assert!(!login().status.success(), "only with the key of the token");
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
