//! A volume with a keystore of its own, mounted by the real program in a temporary directory.
//!
//! Nothing is left behind: `Drop` unmounts and removes, even while a test panics; a watchdog kills a daemon that
//! makes a test hang, so that every blocked system call returns; and the first volume of a process clears away
//! what an earlier test process left when it was killed itself.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use super::tools::{ok, progress};

/// Where the volumes of all test processes lie; readable by every user, so that tests can act as others.
const PREFIX: &str = "kmsfs-test";

/// A daemon that serves one mount for longer than this is taken to hang.
const WATCHDOG: Duration = Duration::from_secs(20 * 60);

/// How long a mount may take to answer, and a daemon to end after its unmount.
const PATIENCE: Duration = Duration::from_secs(120);

/// A volume, its keystore and, most of the time, its mount.
pub struct Volume {
    root: PathBuf,
    daemon: Option<Daemon>,
    options: Vec<String>,
}

struct Daemon {
    child: Child,
    _alive: mpsc::Sender<()>,
}

impl Volume {
    /// A new volume under a new keystore's default key, mounted.
    pub fn mounted() -> Volume {
        let mut volume = Volume::unmounted();
        volume.mount();
        volume
    }

    /// The same, open to every user of the machine, who may have devices and set-user-id programs there.
    pub fn mounted_for_all() -> Volume {
        let mut volume = Volume::unmounted();
        volume.option("-o").option("allow_other,suid,dev").mount();
        volume
    }

    /// A new volume that nobody has mounted yet.
    pub fn unmounted() -> Volume {
        let volume = Volume::bare();
        volume.keystore_create();
        volume.init(&[]);
        volume
    }

    /// The directories and the passphrase alone: no keystore, no volume.
    pub fn bare() -> Volume {
        static SWEPT: Once = Once::new();
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        SWEPT.call_once(sweep);
        let root = std::env::temp_dir().join(format!(
            "{PREFIX}.{}.{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        ));
        for dir in ["", "lower", "mnt", "home", "scratch"] {
            let dir = root.join(dir);
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let passphrase = root.join("passphrase");
        fs::write(&passphrase, "correct horse battery staple\n").unwrap();
        fs::set_permissions(&passphrase, PermissionsExt::from_mode(0o600)).unwrap();
        Volume { root, daemon: None, options: Vec::new() }
    }

    /// Makes the keystore, with a passphrase that is cheap to check: tests open it hundreds of times.
    pub fn keystore_create(&self) {
        ok(self.kmsfs("keystore").args(["create", "--argon2", "8192,1,1"]));
    }

    /// Makes the volume (and the keystore, if there is none), with more arguments to `kmsfs init`.
    pub fn init(&self, args: &[&str]) {
        let passphrase = self.passphrase_file();
        ok(self.kmsfs("init").arg("--passphrase-file").arg(passphrase).args(args).arg(self.lower()));
    }

    /// Adds an argument to every later `kmsfs mount` of this volume.
    pub fn option(&mut self, option: &str) -> &mut Volume {
        self.options.push(option.to_owned());
        self
    }

    /// The directory that holds ciphertext.
    pub fn lower(&self) -> PathBuf {
        self.root.join("lower")
    }

    /// The mount point.
    pub fn mnt(&self) -> PathBuf {
        self.root.join("mnt")
    }

    /// A path below the mount point.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.mnt().join(name)
    }

    /// A plain directory beside the volume, on the lower filesystem, that goes away with it.
    pub fn scratch(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.join("scratch").join(name)
    }

    /// The home directory of the programs that work on the volume.
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The file with the keystore's passphrase.
    pub fn passphrase_file(&self) -> PathBuf {
        self.root.join("passphrase")
    }

    /// The keystore that `kmsfs init` made.
    pub fn keystore(&self) -> PathBuf {
        self.home().join("kmsfs/keystore.db")
    }

    /// The program under test with this volume's keystore and passphrase in its environment.
    pub fn kmsfs(&self, command: &str) -> Command {
        let home = self.home();
        let mut program = Command::new(program());
        program
            .arg(command)
            .stdin(Stdio::null())
            .env("KMSFS_PASSPHRASE_FILE", self.passphrase_file())
            .env("HOME", &home)
            .env("XDG_DATA_HOME", &home)
            .env("XDG_CONFIG_HOME", &home)
            .env("XDG_STATE_HOME", &home)
            .env("XDG_RUNTIME_DIR", &home)
            .env("RUST_BACKTRACE", "1");
        program
    }

    /// `kmsfs mount --foreground` with this volume's directories, not started.
    pub fn mount_command(&self) -> Command {
        let mut command = self.kmsfs("mount");
        command.arg("--foreground").arg("--passphrase-file").arg(self.passphrase_file());
        command.args(&self.options).arg(self.lower()).arg(self.mnt());
        command
    }

    /// Mounts the volume and waits until the mount answers.
    pub fn mount(&mut self) {
        let mut command = self.mount_command();
        self.mount_with(&mut command);
    }

    /// Mounts with a command of the test's own, and waits until the mount answers.
    pub fn mount_with(&mut self, command: &mut Command) {
        if let Err(status) = self.try_mount(command) {
            panic!("the volume did not mount, {status}:\n{}", self.log());
        }
    }

    /// Mounts; fails with the program's exit status where it refuses.
    pub fn try_mount(&mut self, command: &mut Command) -> Result<(), ExitStatus> {
        assert!(self.daemon.is_none(), "the volume is mounted already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let mut child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let alive = watch(child.id());
        fs::write(self.root.join("daemon.pid"), child.id().to_string()).unwrap();
        let mut ended = None;
        let answers = wait_until(PATIENCE, || {
            ended = child.try_wait().unwrap();
            ended.is_some() || (is_mount_point(&self.mnt()) && self.is_announced())
        });
        if let Some(status) = ended {
            return Err(status);
        }
        self.daemon = Some(Daemon { child, _alive: alive });
        assert!(answers, "the mount does not answer:\n{}", self.log());
        Ok(())
    }

    /// Whether the daemon has told that it is ready; before that, it takes an unmount for a failure to start.
    fn is_announced(&self) -> bool {
        self.kmsfs("status").arg(self.mnt()).output().unwrap().status.success()
    }

    /// Tries to mount and returns what the program said when it refused.
    pub fn refused_mount(&self, command: &mut Command) -> Output {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let _alive = watch_for(pid, PATIENCE);
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success(), "the mount should have been refused");
        output
    }

    /// Unmounts, and asserts that the daemon ended well.
    pub fn unmount(&mut self) {
        let mut last = None;
        let done = wait_until(PATIENCE, || {
            last = Some(umount(&self.mnt(), false));
            !is_mount_point(&self.mnt())
        });
        assert!(done, "cannot unmount: {last:?}");
        let status = self.wait();
        assert!(status.success(), "the daemon ended with {status}:\n{}", self.log());
        self.assert_no_panic();
    }

    /// Empties every cache between a test and the lower directory: unmount, mount.
    pub fn remount(&mut self) {
        self.unmount();
        self.mount();
    }

    /// Kills the daemon with signal 9, as a crash would end it, and clears the dead mount away.
    pub fn kill(&mut self) {
        let daemon = self.daemon.as_mut().unwrap();
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
        self.daemon = None;
        umount(&self.mnt(), true).unwrap();
    }

    /// Waits for a daemon that is about to end by itself, and returns how it did.
    pub fn wait(&mut self) -> ExitStatus {
        let mut daemon = self.daemon.take().unwrap();
        let mut status = None;
        wait_until(PATIENCE, || {
            status = daemon.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap_or_else(|| {
            daemon.child.kill().unwrap();
            panic!("the daemon went on after its mount was gone:\n{}", self.log());
        })
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().unwrap().child.id()
    }

    /// The most memory the daemon has held since it started, in MiB.
    pub fn peak_memory_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// All that the volume's daemons have logged so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// Runs `kmsfs check` on the unmounted volume.
    pub fn check(&self) -> Output {
        self.kmsfs("check").arg(self.lower()).output().unwrap()
    }

    /// Asserts that `kmsfs check` finds nothing to complain of.
    pub fn assert_clean(&self) {
        let output = self.check();
        assert!(
            output.status.success(),
            "kmsfs check: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// The lower file that holds the content of `name`: the two have the same inode number.
    pub fn lower_of(&self, name: impl AsRef<Path>) -> PathBuf {
        let inode = fs::symlink_metadata(self.path(name)).unwrap().ino();
        let found = find(&self.lower(), &mut |_, meta| meta.ino() == inode);
        found.expect("no lower file has this inode number")
    }

    fn log_file(&self) -> PathBuf {
        self.root.join("daemon.log")
    }

    fn assert_no_panic(&self) {
        assert!(!self.log().contains("panicked at"), "the daemon panicked:\n{}", self.log());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if thread::panicking() {
            let log = self.log();
            let tail = log.lines().rev().take(40).collect::<Vec<_>>();
            let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
            progress(format_args!("daemon's log of the failed test:\n{tail}"));
        }
        let unmounted = wait_until(Duration::from_secs(10), || {
            !is_mount_point(&self.mnt()) || umount(&self.mnt(), false).is_ok()
        });
        if let Some(daemon) = self.daemon.as_mut() {
            let ended = unmounted
                && wait_until(PATIENCE, || daemon.child.try_wait().is_ok_and(|status| status.is_some()));
            if !ended {
                let _ = daemon.child.kill();
                let _ = daemon.child.wait();
            }
        }
        clear_away(&self.root);
        if !thread::panicking() {
            self.assert_no_panic();
        }
    }
}

/// The program under test; `KMSFS` names another one than this build's.
pub fn program() -> PathBuf {
    std::env::var_os("KMSFS").map_or_else(|| env!("CARGO_BIN_EXE_kmsfs").into(), PathBuf::from)
}

/// Whether something is mounted on `dir`; a mount whose daemon died counts.
pub fn is_mount_point(dir: &Path) -> bool {
    let parent = fs::metadata(dir.parent().unwrap()).unwrap().dev();
    match fs::metadata(dir) {
        Ok(meta) => meta.dev() != parent,
        Err(err) => err.kind() != io::ErrorKind::NotFound,
    }
}

/// Tries until it holds, at most for `limit`; whether it came to hold.
pub fn wait_until(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if holds() {
            return true;
        }
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Looks below `dir` for a file that `matches`; symbolic links are not followed.
pub fn find(dir: &Path, matches: &mut dyn FnMut(&Path, &fs::Metadata) -> bool) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        if matches(&path, &meta) {
            return Some(path);
        }
        let below = if meta.is_dir() { find(&path, matches) } else { None };
        if below.is_some() {
            return below;
        }
    }
    None
}

/// Takes a mount away; `lazily` also one that is busy or whose daemon is dead.
pub fn umount(dir: &Path, lazily: bool) -> io::Result<()> {
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("umount");
        command.args(lazily.then_some("-l"));
        command
    } else {
        let mut command = Command::new("fusermount3");
        command.arg(if lazily { "-uz" } else { "-u" });
        command
    };
    let output = command.arg(dir).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn watch(pid: u32) -> mpsc::Sender<()> {
    watch_for(pid, WATCHDOG)
}

/// Kills `pid` unless the returned sender is dropped before `limit`.
fn watch_for(pid: u32, limit: Duration) -> mpsc::Sender<()> {
    let (alive, dropped) = mpsc::channel::<()>();
    thread::spawn(move || {
        if dropped.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout) {
            progress(format_args!("watchdog: the daemon {pid} still runs after {limit:?}; killing it"));
            kill(pid);
        }
    });
    alive
}

fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// Removes a volume's directory with whatever is still mounted below it.
fn clear_away(root: &Path) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let below = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .filter(|dir| Path::new(dir).starts_with(root));
    for dir in below.collect::<Vec<_>>().into_iter().rev() {
        let _ = umount(Path::new(dir), true);
    }
    if let Err(err) = fs::remove_dir_all(root) {
        let _ = writeln!(io::stderr(), "cannot remove {}: {err}", root.display());
    }
}

/// Clears away the volumes of test processes that were killed before they could.
fn sweep() {
    for entry in fs::read_dir(std::env::temp_dir()).unwrap().flatten() {
        let name = entry.file_name();
        let mut parts = name.to_str().unwrap_or_default().split('.');
        let (Some(PREFIX), Some(owner)) = (parts.next(), parts.next()) else { continue };
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        progress(format_args!("clearing away {}", entry.path().display()));
        let daemon = fs::read_to_string(entry.path().join("daemon.pid")).unwrap_or_default();
        let serves_it = fs::read_to_string(format!("/proc/{daemon}/cmdline"))
            .is_ok_and(|line| line.contains(&*entry.path().to_string_lossy()));
        if let (true, Ok(pid)) = (serves_it, daemon.parse()) {
            kill(pid);
        }
        clear_away(&entry.path());
    }
}
