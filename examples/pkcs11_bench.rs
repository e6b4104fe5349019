//! Measures PKCS#11 modules side by side: signatures and encryptions a second, with 1 thread and with 8.
//!
//! ```text
//! pkcs11_bench SECONDS NAME=MODULE:TOKEN:PIN...
//! ```
//!
//! Each thread has a session of its own; keys are objects of the token, private and sensitive. The modules take turns, so
//! that whatever else goes on in the machine meets all of them. The result is a line of JSON for each measurement.
#![allow(clippy::print_stdout, reason = "a program")]

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// `secp256r1` in DER.
const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ROUNDS: usize = 3;

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Work {
    RsaSign,
    EcdsaSign,
    AesCbc,
    AesGcm,
}

/// A module, with its keys.
struct Contestant {
    name: String,
    module: Pkcs11,
    slot: cryptoki::slot::Slot,
    keys: Keys,
    /// Keeps the login.
    _session: Session,
}

#[derive(Clone, Copy)]
struct Keys {
    rsa: ObjectHandle,
    ec: ObjectHandle,
    aes: ObjectHandle,
}

impl Contestant {
    fn new(description: &str) -> Result<Contestant> {
        let (name, rest) = description.split_once('=').ok_or("NAME=MODULE:TOKEN:PIN")?;
        let [path, label, pin] =
            rest.split(':').collect::<Vec<_>>().try_into().map_err(|_| "NAME=MODULE:TOKEN:PIN")?;
        let module = Pkcs11::new(path)?;
        module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        let mut slot = None;
        for candidate in module.get_slots_with_token()? {
            if module.get_token_info(candidate)?.label() == label {
                slot = Some(candidate);
            }
        }
        let slot = slot.ok_or("no token of that name")?;
        let session = module.open_rw_session(slot)?;
        session.login(UserType::User, Some(&AuthPin::new(pin.into())))?;
        let private = [Attribute::Token(true), Attribute::Private(true), Attribute::Sensitive(true)];
        let of_pair = |public: &[Attribute], mechanism| -> Result<ObjectHandle> {
            let public = [&[Attribute::Token(true), Attribute::Verify(true)], public].concat();
            let private = [&private[..], &[Attribute::Sign(true)]].concat();
            Ok(session.generate_key_pair(&mechanism, &public, &private)?.1)
        };
        let rsa = of_pair(&[Attribute::ModulusBits(2048.into())], Mechanism::RsaPkcsKeyPairGen)?;
        let ec = of_pair(&[Attribute::EcParams(P256.into())], Mechanism::EccKeyPairGen)?;
        let secret = [&private[..], &[Attribute::Encrypt(true), Attribute::ValueLen(32.into())]].concat();
        let aes = session.generate_key(&Mechanism::AesKeyGen, &secret)?;
        let keys = Keys { rsa, ec, aes };
        Ok(Contestant { name: name.to_owned(), module, slot, keys, _session: session })
    }

    /// Operations a second.
    fn measure(&self, work: Work, threads: usize, time: Duration) -> Result<f64> {
        let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut running = Vec::new();
        for _ in 0..threads {
            let session = self.module.open_ro_session(self.slot)?;
            let (count, over, keys) = (Arc::clone(&count), Arc::clone(&over), self.keys);
            running.push(std::thread::spawn(move || -> std::result::Result<(), cryptoki::error::Error> {
                while !over.load(Ordering::Relaxed) {
                    once(&session, keys, work)?;
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            }));
        }
        std::thread::sleep(time / 4);
        let (from, began) = (count.load(Ordering::Relaxed), Instant::now());
        std::thread::sleep(time);
        let (to, took) = (count.load(Ordering::Relaxed), began.elapsed());
        over.store(true, Ordering::Relaxed);
        for thread in running {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok((to - from) as f64 / took.as_secs_f64())
    }
}

fn once(session: &Session, keys: Keys, work: Work) -> std::result::Result<(), cryptoki::error::Error> {
    let message = [7; 1024];
    match work {
        Work::RsaSign => session.sign(&Mechanism::Sha256RsaPkcs, keys.rsa, &message).map(drop),
        Work::EcdsaSign => session.sign(&Mechanism::Ecdsa, keys.ec, &message[..32]).map(drop),
        Work::AesCbc => session.encrypt(&Mechanism::AesCbcPad([0; 16]), keys.aes, &message).map(drop),
        Work::AesGcm => {
            let mut nonce = [0; 12];
            let parameters = cryptoki::mechanism::aead::GcmParams::new(&mut nonce, b"aad", 128.into())?;
            session.encrypt(&Mechanism::AesGcm(parameters), keys.aes, &message).map(drop)
        }
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let seconds: f64 = arguments.next().ok_or("how many seconds?")?.parse()?;
    let contestants: Vec<Contestant> = arguments.map(|one| Contestant::new(&one)).collect::<Result<_>>()?;
    for work in [Work::RsaSign, Work::EcdsaSign, Work::AesCbc, Work::AesGcm] {
        for threads in [1, 8] {
            let mut best = vec![0_f64; contestants.len()];
            for _ in 0..ROUNDS {
                for (contestant, best) in contestants.iter().zip(&mut best) {
                    *best = best.max(contestant.measure(work, threads, Duration::from_secs_f64(seconds))?);
                }
            }
            for (contestant, rate) in contestants.iter().zip(best) {
                let line = serde_json::json!({
                    "module": contestant.name, "work": format!("{work:?}"), "threads": threads,
                    "per_second": rate.round(),
                });
                println!("{line}");
            }
        }
    }
    Ok(())
}
