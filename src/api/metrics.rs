//! Figures about the service, as Prometheus reads them.
//!
//! Counters are atomics in a fixed registry; the text is made when it is asked for (exposition format 0.0.4). It names
//! operations and errors, and neither keys nor principals: who may see the figures need not be one who may see those.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Upper bounds of the latency histogram, in microseconds.
const BOUNDS: [u64; 12] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

/// Under which name calls of operations that do not exist are counted.
const UNKNOWN: &str = "unknown";

/// Calls by operation, result and duration.
#[derive(Debug)]
pub struct Metrics {
    started: SystemTime,
    in_flight: Arc<AtomicU64>,
    /// By name, sorted.
    operations: Vec<Operation>,
    unknown: Operation,
}

#[derive(Debug)]
struct Operation {
    name: &'static str,
    succeeded: AtomicU64,
    /// By the error's name.
    failed: Mutex<BTreeMap<&'static str, u64>>,
    /// How many took at most as long as each bound, and longer than the one before.
    durations: [AtomicU64; BOUNDS.len()],
    micros: AtomicU64,
}

impl Operation {
    fn new(name: &'static str) -> Operation {
        Operation {
            name,
            succeeded: AtomicU64::new(0),
            failed: Mutex::default(),
            durations: Default::default(),
            micros: AtomicU64::new(0),
        }
    }

    fn count(&self, error: Option<&'static str>, took: Duration) {
        match error {
            None => _ = self.succeeded.fetch_add(1, Ordering::Relaxed),
            Some(error) => *self.failed.lock().entry(error).or_default() += 1,
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
        if let Some(at) = BOUNDS.iter().position(|bound| micros <= *bound) {
            self.durations[at].fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A call that is being served; ends when dropped.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicU64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A figure that is read when it is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Its name.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Whether it only grows.
    pub counts: bool,
    /// What it is just now.
    pub value: u64,
}

impl Metrics {
    /// Nothing counted yet, for these operations.
    pub fn new(operations: impl IntoIterator<Item = &'static str>) -> Metrics {
        let mut operations: Vec<_> = operations.into_iter().map(Operation::new).collect();
        operations.sort_by_key(|operation| operation.name);
        Metrics {
            started: SystemTime::now(),
            in_flight: Arc::default(),
            operations,
            unknown: Operation::new(UNKNOWN),
        }
    }

    /// Notes that a call has begun.
    pub fn begin(&self) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.in_flight))
    }

    /// Counts a call that was answered.
    pub fn count(&self, operation: &str, error: Option<&'static str>, took: Duration) {
        let known = self.operations.binary_search_by(|known| known.name.cmp(operation));
        known.map_or(&self.unknown, |at| &self.operations[at]).count(error, took);
    }

    /// Everything as text, with what others have counted. Operations that were never called are left out.
    pub fn expose(&self, figures: &[Figure]) -> String {
        let mut text = String::with_capacity(16 << 10);
        self.write(&mut text, figures).expect("memory takes every write");
        text
    }

    fn write(&self, out: &mut String, figures: &[Figure]) -> fmt::Result {
        let called = || {
            let all = self.operations.iter().chain([&self.unknown]);
            all.filter(|operation| operation.calls() > 0)
        };
        head(out, "kmsfs_calls_total", "counter", "Calls that were answered, by operation and result.")?;
        for operation in called() {
            let name = operation.name;
            let succeeded = operation.succeeded.load(Ordering::Relaxed);
            writeln!(out, "kmsfs_calls_total{{operation=\"{name}\",result=\"ok\"}} {succeeded}")?;
            for (error, calls) in &*operation.failed.lock() {
                writeln!(out, "kmsfs_calls_total{{operation=\"{name}\",result=\"{error}\"}} {calls}")?;
            }
        }
        let what = "How long calls took, from their head to their answer.";
        head(out, "kmsfs_call_duration_seconds", "histogram", what)?;
        for operation in called() {
            operation.write_durations(out)?;
        }
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        let start = self.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let own = [
            ("kmsfs_calls_in_flight", "Calls that are being served.", in_flight),
            ("process_start_time_seconds", "When the service was started, in seconds since 1970.", start),
        ];
        let own = own.map(|(name, help, value)| Figure { name, help, counts: false, value });
        for Figure { name, help, counts, value } in own.iter().chain(figures) {
            head(out, name, if *counts { "counter" } else { "gauge" }, help)?;
            writeln!(out, "{name} {value}")?;
        }
        head(out, "kmsfs_build_info", "gauge", "Always 1, with the version that serves.")?;
        writeln!(out, "kmsfs_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"))
    }
}

impl Operation {
    fn calls(&self) -> u64 {
        self.succeeded.load(Ordering::Relaxed) + self.failed.lock().values().sum::<u64>()
    }

    fn write_durations(&self, out: &mut String) -> fmt::Result {
        let name = self.name;
        // Read first, so that no bucket has more calls than there are.
        let mut within = 0;
        for (bound, calls) in BOUNDS.iter().zip(&self.durations) {
            within += calls.load(Ordering::Relaxed);
            let bound = seconds(*bound);
            writeln!(
                out,
                "kmsfs_call_duration_seconds_bucket{{operation=\"{name}\",le=\"{bound}\"}} {within}"
            )?;
        }
        let all = self.calls().max(within);
        let sum = seconds(self.micros.load(Ordering::Relaxed));
        writeln!(out, "kmsfs_call_duration_seconds_bucket{{operation=\"{name}\",le=\"+Inf\"}} {all}")?;
        writeln!(out, "kmsfs_call_duration_seconds_sum{{operation=\"{name}\"}} {sum}")?;
        writeln!(out, "kmsfs_call_duration_seconds_count{{operation=\"{name}\"}} {all}")
    }
}

fn seconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn value(text: &str, series: &str) -> f64 {
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
        line.unwrap_or_else(|| panic!("{series} in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
    }

    #[test]
    fn calls_are_counted_by_operation_result_and_duration() {
        let metrics = Metrics::new(["Encrypt", "Decrypt"]);
        metrics.count("Decrypt", None, Duration::from_micros(50));
        metrics.count("Decrypt", None, Duration::from_micros(51));
        metrics.count("Decrypt", Some("AccessDeniedException"), Duration::from_secs(60));
        metrics.count("DropTables", Some("UnknownOperationException"), Duration::ZERO);
        let held = metrics.begin();
        let text = metrics.expose(&[]);
        assert_eq!(value(&text, "kmsfs_calls_total{operation=\"Decrypt\",result=\"ok\"}"), 2.0);
        assert_eq!(
            value(&text, "kmsfs_calls_total{operation=\"Decrypt\",result=\"AccessDeniedException\"}"),
            1.0
        );
        assert_eq!(
            value(&text, "kmsfs_calls_total{operation=\"unknown\",result=\"UnknownOperationException\"}"),
            1.0
        );
        let bucket = |le| {
            value(&text, &format!("kmsfs_call_duration_seconds_bucket{{operation=\"Decrypt\",le=\"{le}\"}}"))
        };
        assert_eq!(
            [bucket("0.00005"), bucket("0.0001"), bucket("2.5"), bucket("+Inf")],
            [1.0, 2.0, 2.0, 3.0]
        );
        assert_eq!(value(&text, "kmsfs_call_duration_seconds_sum{operation=\"Decrypt\"}"), 60.000101);
        assert_eq!(value(&text, "kmsfs_calls_in_flight"), 1.0);
        assert!(!text.contains("Encrypt") && !text.contains("DropTables"), "{text}");
        drop(held);
        assert_eq!(value(&metrics.expose(&[]), "kmsfs_calls_in_flight"), 0.0);
    }

    #[test]
    fn the_text_has_a_head_for_each_metric_and_nothing_else() {
        let metrics = Metrics::new(["Decrypt"]);
        metrics.count("Decrypt", None, Duration::from_millis(1));
        let lost = Figure { name: "kmsfs_lost_total", help: "Lost.", counts: true, value: 7 };
        let text = metrics.expose(&[lost]);
        assert!(text.contains(
            "# HELP kmsfs_lost_total Lost.\n# TYPE kmsfs_lost_total counter\nkmsfs_lost_total 7\n"
        ));
        let mut heads = Vec::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => heads.push(rest.split_once(' ').unwrap().0.to_owned()),
                None if line.starts_with("# HELP ") => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    let of = heads.last().unwrap();
                    let suffixes = ["", "_bucket", "_sum", "_count"];
                    assert!(
                        suffixes.iter().any(|suffix| name == format!("{of}{suffix}")),
                        "{line} below {of}"
                    );
                }
            }
        }
        heads.sort();
        heads.dedup();
        assert_eq!(heads.len(), text.matches("# TYPE").count());
    }
}
