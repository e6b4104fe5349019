//! A circuit breaker: while a service is known to be down, callers are told so at once instead of each finding out.

use crate::keys::Error;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How long nobody asks again after a call has failed.
const MOMENT: Duration = Duration::from_secs(1);

/// What is known of a service that does not answer.
struct Down {
    error: Error,
    /// When the next caller may try.
    next: Instant,
}

/// What callers have found out.
#[derive(Default)]
struct State {
    down: Option<Down>,
    /// When the service last said something.
    answered: Option<Instant>,
}

/// See the module.
#[derive(Default)]
pub(in crate::keys) struct Circuit(Mutex<State>);

impl Circuit {
    /// Lets a caller pass who may take `time`. While the service is down, that is one at a time, [`MOMENT`] after
    /// the last has failed.
    ///
    /// # Errors
    /// What the last caller was told.
    pub(in crate::keys) fn enter(&self, time: Duration) -> Result<(), Error> {
        match &mut self.0.lock().down {
            Some(Down { error, next }) if Instant::now() < *next => Err(error.clone()),
            Some(Down { next, .. }) => {
                *next = Instant::now() + time;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The service said something, be it a refusal.
    pub(in crate::keys) fn answers(&self) {
        *self.0.lock() = State { down: None, answered: Some(Instant::now()) };
    }

    /// A caller who began at `began` was left without an answer. If others got one meanwhile, the service is not down.
    pub(in crate::keys) fn fails(&self, began: Instant, error: &Error) {
        let mut state = self.0.lock();
        if state.answered.is_none_or(|answered| answered < began) {
            state.down = Some(Down { error: error.clone(), next: Instant::now() + MOMENT });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::keys::ErrorKind;
    use std::thread;

    const LONG: Duration = Duration::from_secs(3600);

    fn away() -> Error {
        Error::new(ErrorKind::Unavailable, "away")
    }

    #[test]
    fn everybody_passes_while_the_service_works() {
        let circuit = Circuit::default();
        circuit.enter(LONG).unwrap();
        circuit.enter(LONG).unwrap();
        circuit.fails(Instant::now(), &away());
        assert_eq!(circuit.enter(LONG), Err(away()));
        circuit.answers();
        circuit.enter(LONG).unwrap();
        circuit.enter(LONG).unwrap();
    }

    #[test]
    fn after_a_moment_one_caller_tries_for_all() {
        let circuit = Circuit::default();
        circuit.fails(Instant::now(), &away());
        thread::sleep(MOMENT);
        circuit.enter(LONG).unwrap();
        assert_eq!(circuit.enter(LONG), Err(away()), "one is trying");
        circuit.fails(Instant::now(), &away());
        thread::sleep(MOMENT);
        circuit.enter(Duration::ZERO).unwrap();
        circuit.enter(LONG).expect("the one who tried had its time");
    }

    #[test]
    fn one_call_without_an_answer_stops_nobody_while_others_get_theirs() {
        let circuit = Circuit::default();
        let began = Instant::now();
        circuit.answers();
        circuit.fails(began, &away());
        circuit.enter(LONG).unwrap();
        circuit.fails(Instant::now(), &away());
        assert!(circuit.enter(LONG).is_err());
    }
}
