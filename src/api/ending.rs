//! The end of the service, for those who wait for something else meanwhile.

use tokio::sync::watch;

/// Brings the end about.
#[derive(Debug)]
pub struct End(watch::Sender<bool>);

/// Hears of the end.
#[derive(Debug, Clone)]
pub struct Ending(watch::Receiver<bool>, Option<watch::Receiver<bool>>);

/// An end that has not come yet, and how to hear of it.
pub fn end() -> (End, Ending) {
    let (sender, receiver) = watch::channel(false);
    (End(sender), Ending(receiver, None))
}

impl End {
    /// From now on it is the end.
    pub fn come(&self) {
        self.0.send_replace(true);
    }
}

impl Ending {
    /// Hears of this end or another, whichever comes first.
    pub fn or(self, other: Ending) -> Ending {
        Ending(self.0, Some(other.0))
    }

    /// Returns when the end has come.
    pub async fn come(&mut self) {
        // An end that nobody can bring about any more has come as well.
        match &mut self.1 {
            None => _ = self.0.wait_for(|come| *come).await,
            Some(other) => {
                tokio::select! {
                    _ = self.0.wait_for(|come| *come) => {}
                    _ = other.wait_for(|come| *come) => {}
                }
            }
        }
    }
}
