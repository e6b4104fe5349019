//! `credential_process`: a program that prints credentials.

use super::{Credentials, Printed};
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;
use zeroize::Zeroizing;

/// Most that is read of what a program prints, in bytes.
const OUTPUT_MAX: u64 = 64 * 1024;

/// Runs `command` with the shell, as AWS's clients do, until `deadline`.
///
/// # Errors
/// It fails, takes too long or prints no credentials.
pub(super) fn credentials(command: &str, deadline: Instant) -> Result<Credentials, String> {
    let failed = |what: &dyn std::fmt::Display| format!("credential_process {what}");
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&format_args!("cannot be run: {error}")))?;
    match output(&mut child, deadline) {
        Ok(Some(output)) => {
            let status = child.wait().map_err(|error| failed(&error))?;
            if !status.success() {
                return Err(failed(&format_args!("ended with {status}")));
            }
            Printed::parse(&output, "credential_process")
        }
        outcome => {
            // It may have ended meanwhile; then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
            Err(outcome.err().map_or_else(|| failed(&"took too long"), |error| failed(&error)))
        }
    }
}

/// All that the program prints; `None` if it does not come to an end in time.
fn output(child: &mut Child, deadline: Instant) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let stdout = child.stdout.take().expect("it is piped");
    let (tell, told) = mpsc::sync_channel(1);
    thread::Builder::new().name("credentials".into()).spawn(move || {
        let mut output = Zeroizing::new(Vec::new());
        let read = stdout.take(OUTPUT_MAX).read_to_end(&mut output);
        // Nobody listens any more where it took too long.
        let _ = tell.send(read.map(|_| output));
    })?;
    match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(output) => output.map(Some),
        Err(_) => Ok(None),
    }
}
