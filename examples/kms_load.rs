//! Puts load on a KMS and reports what it stood: `scripts/kms-bench` runs it.
//!
//! ```text
//! kms_load ADDRESS|SOCKET OPERATION CONNECTIONS SECONDS [PID]
//! ```
//!
//! Makes a key over the same protocol, signs one request for each connection beforehand and sends it again and
//! again, each connection from a thread of its own: first as fast as answers come, then at half that rate to
//! see how long an answer takes on a service that is not saturated. With PID, the process's processor time is
//! set against the answers. Prints one line of JSON. Credentials are those of `AWS_ACCESS_KEY_ID` and
//! `AWS_SECRET_ACCESS_KEY`; on a unix socket nothing is signed.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program")]

#[path = "../tests/kms_api/client.rs"]
#[allow(dead_code, reason = "the tests of the service use more of it")]
mod client;

use client::{Connection, Credentials, Request, base64};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where the KMS is.
#[derive(Clone)]
struct Target {
    place: String,
    credentials: Credentials,
}

impl Target {
    fn connect(&self) -> Connection {
        match self.place.parse() {
            Ok(address) => Connection::tcp(address),
            Err(_) => Connection::unix(&PathBuf::from(&self.place)),
        }
    }

    fn request(&self, operation: &str, body: &Value) -> Request {
        let request = Request::new(operation, body.to_string());
        match self.place.starts_with('/') {
            true => request,
            false => request.signed(&self.credentials),
        }
    }

    fn call(&self, operation: &str, body: &Value) -> Value {
        self.connect().send(&self.request(operation, body)).ok()
    }

    /// The request of the load, with all that it needs in place.
    fn prepare(&self, operation: &str) -> Request {
        let new_key = |spec: &str, usage: &str| {
            let made = self.call("CreateKey", &json!({"KeySpec": spec, "KeyUsage": usage}));
            made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned()
        };
        let symmetric = || new_key("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT");
        let context = json!({"purpose": "load", "tenant": "0001"});
        let sign = |spec: &str, algorithm: &str| {
            let key = new_key(spec, "SIGN_VERIFY");
            let body = json!({"KeyId": key, "Message": base64(&[7; 64]), "SigningAlgorithm": algorithm});
            self.request("Sign", &body)
        };
        match operation {
            "Encrypt" => self.request(
                "Encrypt",
                &json!({"KeyId": symmetric(), "Plaintext": base64(&[7; 32]), "EncryptionContext": context}),
            ),
            "Decrypt" => {
                let body = json!({
                    "KeyId": symmetric(), "Plaintext": base64(&[7; 32]), "EncryptionContext": context,
                });
                let blob = self.call("Encrypt", &body)["CiphertextBlob"].clone();
                self.request("Decrypt", &json!({"CiphertextBlob": blob, "EncryptionContext": context}))
            }
            "GenerateDataKey" => self.request(
                "GenerateDataKey",
                &json!({"KeyId": symmetric(), "KeySpec": "AES_256", "EncryptionContext": context}),
            ),
            "SignEcc" => sign("ECC_NIST_P256", "ECDSA_SHA_256"),
            "SignRsa" => sign("RSA_2048", "RSASSA_PSS_SHA_256"),
            other => panic!("no load is called {other}"),
        }
    }
}

/// Sends `request` over `connections` for `time`; paced to `rate` answers a second over all, if given. Gives the
/// time that each answer took.
fn load(
    target: &Target,
    request: &Request,
    connections: usize,
    time: Duration,
    rate: Option<f64>,
) -> Vec<Duration> {
    let (bytes, stop) = (request.encode(), AtomicBool::new(false));
    let one = |index: usize| {
        let mut connection = target.connect();
        let (mut times, began) = (Vec::new(), Instant::now());
        let gap = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
        let mut next = began + gap.unwrap_or_default().mul_f64(index as f64 / connections as f64);
        while !stop.load(Ordering::Relaxed) {
            if let Some(gap) = gap {
                thread::sleep(next.saturating_duration_since(Instant::now()));
                next += gap;
            }
            let sent = Instant::now();
            connection.send_raw(&bytes);
            let reply = connection.receive().expect("the KMS answers");
            if reply.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")) {
                connection = target.connect();
            }
            assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
            times.push(sent.elapsed());
        }
        times
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|index| scope.spawn(move || one(index))).collect();
        thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// Processor time of a process, in seconds.
fn processor_time(pid: &str) -> f64 {
    const TICKS_A_SECOND: f64 = 100.0; // USER_HZ, the same on every Linux
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / TICKS_A_SECOND
}

fn percentile(times: &mut [Duration], of: f64) -> f64 {
    times.sort_unstable();
    let at = ((times.len() as f64 * of) as usize).min(times.len().saturating_sub(1));
    times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1000.0)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (place, operation) = (args[0].clone(), args[1].as_str());
    let (connections, seconds): (usize, f64) = (args[2].parse().unwrap(), args[3].parse().unwrap());
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| "none".into());
    let credentials = Credentials {
        id: variable("AWS_ACCESS_KEY_ID"),
        secret: variable("AWS_SECRET_ACCESS_KEY"),
        token: None,
        region: "us-east-1".into(),
    };
    let target = Target { place, credentials };
    let (request, time) = (target.prepare(operation), Duration::from_secs_f64(seconds));
    load(&target, &request, connections, time / 5, None); // warms up caches on both sides
    let before = args.get(4).map(|pid| processor_time(pid));
    let mut full = load(&target, &request, connections, time, None);
    let spent = args.get(4).zip(before).map(|(pid, before)| processor_time(pid) - before);
    let rate = full.len() as f64 / seconds;
    let mut half = load(&target, &request, connections, time, Some(rate / 2.0));
    println!(
        "{}",
        json!({
            "operation": operation, "connections": connections, "per_second": rate.round(),
            "per_processor_second": spent.map(|spent| (full.len() as f64 / spent).round()),
            "p50_ms": percentile(&mut full, 0.5), "p99_ms": percentile(&mut full, 0.99),
            "half_load_p99_ms": percentile(&mut half, 0.99),
        })
    );
}
