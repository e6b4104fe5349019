//! PKCS#11 modules: other people's C code in this process.
//!
//! Each module has one thread, which makes all calls to it, one after the other. So a call that hangs holds up that thread
//! and nobody else: whoever waits for an answer gives up in time. And the module can be finalized and initialized anew
//! when a token is away, which the standard allows only while no call is under way: many modules look for tokens then
//! only.
//!
//! A module is loaded once and for the life of the process. The first use must come *after* a daemon's last fork: a
//! module's state does not survive one.

use super::pin::Pin;
use super::session::{self, Client, Connected};
use super::trouble::{Trouble, told};
use super::uri::TokenUri;
use crate::keys::{Error, ErrorKind};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Ck, RvError};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// A user's number at a module.
pub(super) type ClientId = u64;

/// The thread of a module.
pub(super) struct Module {
    path: PathBuf,
    jobs: Sender<Job>,
}

struct Job {
    /// Nobody waits for it any more after this; `None`: nobody does at all, and it is done all the same.
    until: Option<Instant>,
    run: Box<dyn FnOnce(&mut Cryptoki) + Send>,
}

static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

impl Module {
    /// The thread of the module at `path`. The module is loaded when it is first asked for something.
    ///
    /// # Errors
    /// There can be no thread.
    pub(super) fn of(path: &Path) -> Result<Arc<Module>, Error> {
        let mut modules = MODULES.lock();
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let (jobs, queue) = mpsc::channel();
        let cryptoki = Cryptoki::new(path.to_owned());
        let spawned = thread::Builder::new().name("pkcs11".into()).spawn(move || serve(cryptoki, &queue));
        spawned.map_err(|error| {
            Error::new(ErrorKind::Unavailable, format_args!("no thread for a PKCS#11 module: {error}"))
        })?;
        let module = Arc::new(Module { path: path.to_owned(), jobs });
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }

    /// Has `work` done on the module's thread, and waits for it for `time` at most. What is not begun by then is not done.
    ///
    /// # Errors
    /// Those of `work`; [`ErrorKind::Unavailable`] if it takes too long.
    pub(super) fn call<T: Send + 'static>(
        &self,
        time: Duration,
        work: impl FnOnce(&mut Cryptoki) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (tell, told) = mpsc::channel();
        let run = move |cryptoki: &mut Cryptoki| {
            // Nobody may wait any more.
            let _ = tell.send(work(cryptoki));
        };
        let late = || {
            let what = format_args!("the PKCS#11 module {} does not answer", self.path.display());
            Error::new(ErrorKind::Unavailable, what)
        };
        let job = Job { until: Some(Instant::now() + time), run: Box::new(run) };
        self.jobs.send(job).map_err(|_| late())?;
        told.recv_timeout(time).unwrap_or_else(|_| Err(late()))
    }

    /// Forgets a user, whenever the module gets to it.
    pub(super) fn forget(&self, client: ClientId) {
        let run = move |cryptoki: &mut Cryptoki| drop(cryptoki.clients.remove(&client));
        // A thread that has ended has forgotten everybody.
        let _ = self.jobs.send(Job { until: None, run: Box::new(run) });
    }
}

fn serve(mut cryptoki: Cryptoki, queue: &Receiver<Job>) {
    for job in queue {
        if job.until.is_none_or(|until| Instant::now() < until) {
            (job.run)(&mut cryptoki);
        }
    }
}

/// What a module's thread has: the module, and its users' sessions.
pub(super) struct Cryptoki {
    path: PathBuf,
    loaded: Option<Pkcs11>,
    is_initialized: bool,
    clients: HashMap<ClientId, Client>,
    next: ClientId,
}

impl Cryptoki {
    fn new(path: PathBuf) -> Cryptoki {
        Cryptoki { path, loaded: None, is_initialized: false, clients: HashMap::new(), next: 0 }
    }

    /// Whether the token wants a PIN.
    pub(super) fn wants_pin(&mut self, uri: &TokenUri) -> Result<bool, Error> {
        self.afresh(|module, _| Ok(session::find(module, uri)?.1.login_required()))
    }

    /// A new user of the token, who is logged in.
    pub(super) fn add(&mut self, uri: TokenUri, pin: Option<Pin>) -> Result<ClientId, Error> {
        let id = self.next;
        self.next += 1;
        self.clients.insert(id, Client::new(uri, pin));
        let done = self.with(id, &|_| Ok(()));
        if done.is_err() {
            self.clients.remove(&id);
        }
        done.map(|()| id)
    }

    /// Does `work` in the session of `id`; where the token has lost it, again in a new one.
    pub(super) fn with<T>(
        &mut self,
        id: ClientId,
        work: &dyn Fn(&mut Connected) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        if let Some(connected) = self.clients.get_mut(&id).and_then(|client| client.connected.as_mut()) {
            match work(connected) {
                Ok(done) => return Ok(done),
                // A session that its token has lost may find no key.
                Err(Trouble::Final(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                Err(trouble) => {
                    let error = trouble.into_error();
                    log::info!("{}: {error}; once more, in a new session", self.path.display());
                }
            }
        }
        self.afresh(|module, clients| {
            let gone = || Trouble::Final(Error::new(ErrorKind::Unavailable, "the token was let go"));
            let client = clients.get_mut(&id).ok_or_else(gone)?;
            client.connected = None;
            let done = work(client.connect(module)?);
            if matches!(done, Err(Trouble::Lost(_) | Trouble::Unclear(_))) {
                client.connected = None;
            }
            done
        })
    }

    /// Does `work`, and where a token is not there, again with the module initialized anew.
    fn afresh<T>(
        &mut self,
        work: impl Fn(&Pkcs11, &mut HashMap<ClientId, Client>) -> Result<T, Trouble>,
    ) -> Result<T, Error> {
        let was_initialized = self.is_initialized;
        let module = self.initialized()?;
        match work(&module, &mut self.clients) {
            Err(Trouble::Lost(error) | Trouble::Unclear(error)) if was_initialized => {
                log::debug!("{}: {error}; initializing the module anew", self.path.display());
                self.finalize(&module);
                let module = self.initialized()?;
                work(&module, &mut self.clients).map_err(Trouble::into_error)
            }
            done => done.map_err(Trouble::into_error),
        }
    }

    fn initialized(&mut self) -> Result<Pkcs11, Error> {
        let failed = |what: &str, error: &Ck| {
            let what = format!("the PKCS#11 module {} cannot be {what}", self.path.display());
            told(ErrorKind::Unavailable, &what, error)
        };
        let module = match &self.loaded {
            Some(module) => module.clone(),
            None => Pkcs11::new(&self.path).map_err(|error| failed("loaded", &error))?,
        };
        if !self.is_initialized {
            match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) | Err(Ck::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
                Err(error) => return Err(failed("initialized", &error)),
            }
            self.is_initialized = true;
        }
        self.loaded = Some(module.clone());
        Ok(module)
    }

    /// All sessions end.
    fn finalize(&mut self, module: &Pkcs11) {
        for client in self.clients.values_mut() {
            client.connected = None;
        }
        if let Err(error) = module.clone().finalize() {
            log::debug!("{}: C_Finalize: {error:?}", self.path.display());
        }
        self.is_initialized = false;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_call_that_hangs_holds_nobody_up_and_what_nobody_waits_for_is_not_done() {
        let module = Module::of(Path::new("/nonexistent/hangs.so")).unwrap();
        let (release, released) = mpsc::channel::<()>();
        let hung = module.call(SHORT, move |_| {
            released.recv().unwrap();
            Ok(())
        });
        assert_eq!(hung.unwrap_err().kind(), ErrorKind::Unavailable);
        let (tell, told) = mpsc::channel();
        let late = module.call(SHORT, move |_| {
            tell.send(()).unwrap();
            Ok(())
        });
        assert!(late.unwrap_err().message().contains("does not answer"));
        release.send(()).unwrap();
        assert_eq!(module.call(LONG, |_| Ok(7)).unwrap(), 7, "it is back");
        assert!(told.recv().is_err(), "the late job was thrown away");
    }

    #[test]
    fn a_module_has_one_thread() {
        let path = Path::new("/nonexistent/one.so");
        let id = |module: Arc<Module>| module.call(LONG, |_| Ok(thread::current().id())).unwrap();
        assert_eq!(id(Module::of(path).unwrap()), id(Module::of(path).unwrap()));
    }

    #[test]
    fn what_is_no_module_is_named() {
        let uri: TokenUri = "pkcs11:token=a?module-path=/nonexistent/none.so".parse().unwrap();
        let module = Module::of(&uri.module).unwrap();
        let error = module.call(LONG, move |cryptoki| cryptoki.wants_pin(&uri)).unwrap_err();
        assert!(error.message().contains("/nonexistent/none.so cannot be loaded"), "{error}");
    }
}
