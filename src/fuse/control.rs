//! What a running mount tells about itself: one unix socket per mount in a directory only its user can enter.
//!
//! The client writes one word and a newline. `status` is answered by a [`Report`], one line of JSON.
//! `wait` is answered when the volume is closed, by a [`Farewell`]; a connection that ends without one means
//! that the process died first. A line that begins with `{` is a command for [`Commands`], answered by lines of JSON until
//! the connection ends. Only the mount's own user and root are answered.

use super::sys;
use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Root's runtime directory.
pub const SYSTEM_DIR: &str = "/run/kmsfs";

/// A client that is slower than this is not waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a mount says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The process that serves it.
    pub pid: u32,
    /// Seconds since it was mounted.
    pub uptime_s: u64,
    /// The lower directory.
    pub lower: PathBuf,
    /// Where it is mounted.
    pub mount_point: PathBuf,
    /// Mounted read-only?
    pub read_only: bool,
    /// What its volume says.
    #[serde(flatten)]
    pub figures: Figures,
    /// File handles open now.
    pub open_files: u64,
    /// The last time a data key could not be had.
    pub last_kms_error: Option<KmsError>,
}

/// What the volume of a mount tells about itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The volume and its key.
    pub volume: Volume,
    /// The cache of data keys.
    pub dek_cache: DekCache,
    /// The redo journal.
    pub journal: Journal,
    /// CMKs that could not be used when that was last tried.
    pub troubles: Vec<Trouble>,
}

/// A CMK in trouble, of a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trouble {
    /// Its ARN.
    pub cmk: String,
    /// Its KMS.
    pub kms: String,
    /// Seconds since the first of the failures after which nothing succeeded.
    pub since_s: u64,
    /// Seconds since the last.
    pub last_s: u64,
    /// How many there were.
    pub failures: u64,
    /// What the KMS said last.
    pub message: String,
}

/// The volume of a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Volume {
    /// Volume id.
    pub id: String,
    /// Cipher of new files.
    pub cipher: String,
    /// Customer master key, by its ARN.
    pub cmk: String,
    /// Where the CMK lives.
    pub kms: String,
    /// What survives a power cut: `power` or `process`.
    pub durability: String,
    /// Names of its zones.
    pub zones: Vec<String>,
}

/// The data-key cache of a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DekCache {
    /// Keys held.
    pub entries: u64,
    /// Keys it may hold.
    pub capacity: u64,
    /// Keys found in it.
    pub hits: u64,
    /// Keys asked of the KMS.
    pub misses: u64,
    /// Keys put out for lack of room or for age.
    pub evictions: u64,
    /// Age of the oldest key held, in seconds.
    pub oldest_s: u64,
}

/// The journal of a [`Report`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Bytes not yet written in place.
    pub pending_bytes: u64,
    /// Segments in use.
    pub segments: u64,
}

/// A KMS error of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KmsError {
    /// Seconds since it happened.
    pub age_s: u64,
    /// What the KMS said.
    pub message: String,
}

/// The last word of a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// Why the volume could not be closed properly, if so. What was acknowledged is in the journal then, and
    /// the next mount finds it.
    pub error: Option<String>,
}

/// Longest line of a client, in bytes.
const LINE_MAX: u64 = 1 << 20;

/// Runs the commands of clients, each on a thread of its own: takes a line of JSON, and answers through the client.
pub type Commands = dyn Fn(&str, &Client) + Send + Sync;

/// Whoever is told how a command goes on.
#[derive(Debug, Clone)]
pub struct Client {
    lines: Sender<String>,
    running: Arc<RunningCommands>,
}

impl Client {
    /// One of this process; what it is told comes out of the other end of `lines`.
    pub fn here(lines: Sender<String>) -> Client {
        Client { lines, running: Arc::default() }
    }

    /// Tells it a line of JSON. Waits for nobody. Returns whether the command is to go on: the client is there, and the mount
    /// is not ending.
    pub fn tell(&self, line: String) -> bool {
        self.lines.send(line).is_ok() && !self.running.ending.load(Ordering::Acquire)
    }
}

/// The commands of clients that are under way.
#[derive(Debug, Default)]
struct RunningCommands {
    ending: AtomicBool,
    count: Mutex<usize>,
    ended: Condvar,
}

/// The socket of a running mount; removed when dropped.
pub struct Control {
    path: PathBuf,
    waiting: Arc<Mutex<Vec<UnixStream>>>,
    running: Arc<RunningCommands>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Control {
    /// Opens this process's socket below the runtime directory `dir` and answers from a thread of its own.
    ///
    /// # Errors
    /// The directory is not ours alone, or the socket cannot be made.
    pub fn serve(
        dir: &Path,
        report: impl Fn() -> Report + Send + 'static,
        commands: Arc<Commands>,
    ) -> io::Result<Control> {
        let dir = dir.join(MOUNTS);
        make_private(&dir)?;
        let path = dir.join(format!("{}.sock", std::process::id()));
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let waiting = Arc::new(Mutex::new(Vec::new()));
        let parked = waiting.clone();
        let running = Arc::<RunningCommands>::default();
        let commands = Runner { commands, running: Arc::clone(&running) };
        std::thread::Builder::new().name("control".into()).spawn(move || {
            for client in listener.incoming() {
                match client.and_then(|client| answer(client, &report, &commands, &parked)) {
                    Ok(()) => {}
                    Err(e) => log::debug!("control socket: {e}"),
                }
            }
        })?;
        Ok(Control { path, waiting, running })
    }

    /// Has commands end that are under way, and waits until they have; others are refused from now on. To be called
    /// before the volume is closed.
    pub fn end_commands(&self) {
        self.running.ending.store(true, Ordering::Release);
        let mut count = self.running.count.lock();
        while *count > 0 {
            self.running.ended.wait(&mut count);
        }
    }

    /// Tells everyone who waits how it ended, and closes.
    pub fn finish(self, error: Option<String>) {
        let line = to_line(&Farewell { error });
        for mut client in self.waiting.lock().drain(..) {
            // A client that has gone does not need to know.
            let _ = client.write_all(line.as_bytes());
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Best effort: a socket left behind is swept by the next `kmsfs status`.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Starts commands.
struct Runner {
    commands: Arc<Commands>,
    running: Arc<RunningCommands>,
}

impl Runner {
    fn start(&self, line: String, stream: UnixStream) -> io::Result<()> {
        {
            let mut count = self.running.count.lock();
            if self.running.ending.load(Ordering::Acquire) {
                return Err(io::Error::other("the mount is ending"));
            }
            *count += 1;
        }
        let ending = CommandEnd(Arc::clone(&self.running));
        let (sender, lines) = channel::<String>();
        let client = Client { lines: sender, running: Arc::clone(&self.running) };
        let commands = Arc::clone(&self.commands);
        std::thread::Builder::new().name("command".into()).spawn(move || {
            let _ending = ending;
            commands(&line, &client);
        })?;
        std::thread::Builder::new().name("command-client".into()).spawn(move || {
            let mut stream = stream;
            for line in lines {
                if stream.write_all(line.as_bytes()).and_then(|()| stream.write_all(b"\n")).is_err() {
                    return; // gone, which the command learns with its next line
                }
            }
        })?;
        Ok(())
    }
}

/// Counts a command as ended when dropped, also by a panic.
struct CommandEnd(Arc<RunningCommands>);

impl Drop for CommandEnd {
    fn drop(&mut self) {
        *self.0.count.lock() -= 1;
        self.0.ended.notify_all();
    }
}

fn answer(
    mut client: UnixStream,
    report: &impl Fn() -> Report,
    commands: &Runner,
    waiting: &Mutex<Vec<UnixStream>>,
) -> io::Result<()> {
    let peer = sys::peer_uid(&client)?;
    if peer != 0 && peer != sys::euid() {
        return Err(io::Error::other(format!("user {peer} is not answered")));
    }
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let mut word = String::new();
    BufReader::new((&client).take(LINE_MAX)).read_line(&mut word)?;
    match word.trim_end() {
        "status" => client.write_all(to_line(&report()).as_bytes()),
        "wait" => {
            waiting.lock().push(client);
            Ok(())
        }
        command if command.starts_with('{') => commands.start(command.to_owned(), client),
        _ => Err(io::Error::other("a line that is not understood")),
    }
}

fn to_line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).unwrap_or_default();
    line.push('\n');
    line
}

/// The directory of this user's sockets, of mounts and of the KMS. Root's is open to all; whoever makes it makes
/// it so. Others' are private.
pub fn runtime_directory() -> PathBuf {
    if sys::euid() == 0 {
        return SYSTEM_DIR.into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("kmsfs"),
        _ => std::env::temp_dir().join(format!("kmsfs-{}", sys::euid())),
    }
}

/// As [`runtime_directory`], made if it does not exist.
///
/// # Errors
/// It cannot be made, or belongs to someone else.
pub fn make_runtime_directory() -> io::Result<PathBuf> {
    let dir = runtime_directory();
    if sys::euid() != 0 {
        make_private(&dir)?;
        return Ok(dir);
    }
    match std::fs::DirBuilder::new().mode(0o755).create(&dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(dir),
    }
}

/// Where in a runtime directory the sockets of mounts are.
const MOUNTS: &str = "mounts";

/// Every directory this user may look for mounts in: root sees everyone's.
fn directories() -> Vec<PathBuf> {
    let mut found = vec![runtime_directory()];
    if sys::euid() == 0 {
        let users = std::fs::read_dir("/run/user").into_iter().flatten().flatten();
        found.extend(users.map(|user| user.path().join("kmsfs")));
        let temporary = std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
        found.extend(temporary.map(|e| e.path()).filter(|path| {
            path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with("kmsfs-"))
                && is_private(path)
        }));
    }
    found.into_iter().map(|dir| dir.join(MOUNTS)).collect()
}

fn make_private(dir: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let meta = std::fs::symlink_metadata(dir)?;
    if meta.is_dir() && meta.uid() == sys::euid() && meta.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{} belongs to someone else or is open to others", dir.display())))
}

/// Is it a directory nobody but its owner can put sockets into?
fn is_private(dir: &Path) -> bool {
    std::fs::symlink_metadata(dir).is_ok_and(|meta| meta.is_dir() && meta.mode() & 0o077 == 0)
}

/// A running mount, as another process sees it.
#[derive(Debug)]
pub struct Running {
    socket: PathBuf,
    /// What it says about itself.
    pub report: Report,
}

/// Asks every mount this user may ask. Sockets of processes that died are removed.
pub fn running() -> Vec<Running> {
    let mut found = Vec::new();
    for dir in directories() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let socket = entry.path();
            if socket.extension().is_none_or(|e| e != "sock") {
                continue;
            }
            match ask(&socket) {
                Ok(report) => found.push(Running { socket, report }),
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    // Nobody listens and nobody will: the name holds a dead process's id.
                    let _ = std::fs::remove_file(&socket);
                }
                Err(e) => log::debug!("{}: {e}", socket.display()),
            }
        }
    }
    found.sort_by_key(|running| running.report.mount_point.clone());
    found
}

fn ask(socket: &Path) -> io::Result<Report> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"status\n")?;
    let mut line = String::new();
    BufReader::new(stream.take(1 << 20)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// A connection on which a mount's end will be told.
#[derive(Debug)]
pub struct Waiting(UnixStream);

/// The answers to a command.
#[derive(Debug)]
pub struct Answers(io::Lines<BufReader<UnixStream>>);

impl Iterator for Answers {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        self.0.next()
    }
}

impl Running {
    /// Sends a command, one line of JSON, and gives the lines of its answer as they come.
    ///
    /// # Errors
    /// It does not answer any more.
    pub fn command(&self, line: &str) -> io::Result<Answers> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(line.as_bytes())?;
        stream.write_all(b"\n")?;
        Ok(Answers(BufReader::new(stream).lines()))
    }

    /// Registers for the mount's last word; to be done before it is unmounted.
    ///
    /// # Errors
    /// It does not answer any more.
    pub fn wait(&self) -> io::Result<Waiting> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.write_all(b"wait\n")?;
        Ok(Waiting(stream))
    }
}

impl Waiting {
    /// Blocks until the mount has closed its volume. `None` if its process died without a word.
    ///
    /// # Errors
    /// The connection failed.
    pub fn farewell(self) -> io::Result<Option<Farewell>> {
        let mut line = String::new();
        BufReader::new(self.0).read_line(&mut line)?;
        if line.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_str(&line)?)) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn report() -> Report {
        Report {
            pid: 1,
            uptime_s: 2,
            lower: "/lower".into(),
            mount_point: "/mnt".into(),
            read_only: false,
            figures: Figures::default(),
            open_files: 3,
            last_kms_error: Some(KmsError { age_s: 4, message: "key k is disabled".into() }),
        }
    }

    /// Commands that say their line back until nobody wants to hear it any more, or once if it says so.
    fn echo() -> Arc<Commands> {
        Arc::new(|line: &str, client: &Client| {
            while client.tell(line.to_owned()) && line != "{once}" {
                std::thread::sleep(Duration::from_millis(5));
            }
        })
    }

    #[test]
    fn a_command_is_answered_until_it_ends_and_others_meanwhile() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::serve(dir.path(), report, echo()).unwrap();
        let running = Running { socket: control.path.clone(), report: report() };
        let lines: Vec<_> = running.command("{once}").unwrap().map(Result::unwrap).collect();
        assert_eq!(lines, ["{once}"]);
        let mut endless = running.command("{on}").unwrap();
        for _ in 0..3 {
            assert_eq!(endless.next().unwrap().unwrap(), "{on}");
            assert_eq!(ask(&control.path).unwrap(), report());
        }
        control.end_commands();
        assert!(endless.all(|line| line.unwrap() == "{on}"), "and then it ends");
        assert_eq!(running.command("{once}").unwrap().count(), 0, "no command while the volume is closed");
    }

    #[test]
    fn a_command_ends_when_its_client_goes() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::serve(dir.path(), report, echo()).unwrap();
        let running = Running { socket: control.path.clone(), report: report() };
        let mut endless = running.command("{on}").unwrap();
        endless.next().unwrap().unwrap();
        drop(endless);
        while *control.running.count.lock() > 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_mount_answers_and_says_farewell() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::serve(dir.path(), report, echo()).unwrap();
        let socket = control.path.clone();
        assert_eq!(std::fs::metadata(&socket).unwrap().mode() & 0o777, 0o600);
        assert_eq!(ask(&socket).unwrap(), report());

        let running = Running { socket: socket.clone(), report: report() };
        let waiting = running.wait().unwrap();
        // Answered one after the other: once this one is, the other waits.
        assert_eq!(ask(&socket).unwrap(), report());
        control.finish(Some("no space".into()));
        assert_eq!(waiting.farewell().unwrap(), Some(Farewell { error: Some("no space".into()) }));
        assert!(!socket.exists());
    }

    #[test]
    fn nonsense_is_not_answered_and_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let control = Control::serve(dir.path(), report, echo()).unwrap();
        let mut client = UnixStream::connect(&control.path).unwrap();
        client.write_all(&[b'x'; 100]).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(answer.is_empty());
        assert!(ask(&control.path).is_ok());
    }

    #[test]
    fn a_directory_open_to_others_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::DirBuilder::new().mode(0o755).create(dir.path().join(MOUNTS)).unwrap();
        assert!(Control::serve(dir.path(), report, echo()).is_err());
    }
}
