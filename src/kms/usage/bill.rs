//! What a month costs.

use super::{Ledger, Month, Prices, Tariff};
use crate::kms::{KeyManager, Kms, Result, RotationType};
use std::collections::BTreeMap;
use time::{Duration, OffsetDateTime};

/// What calls are added up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The key.
    Key,
    /// The principal.
    Principal,
    /// The operation.
    Operation,
}

/// The life of a customer managed key, as far as it is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLife {
    /// The key's id.
    pub id: String,
    /// When it was created.
    pub created: OffsetDateTime,
    /// When it was rotated, earliest first.
    pub rotations: Vec<OffsetDateTime>,
    /// When its deletion is or was due. From the day that this was decided on, the key is free.
    pub deletion: Option<OffsetDateTime>,
}

impl Kms {
    /// The lives of all customer managed keys, destroyed ones included; those have forgotten their rotations.
    ///
    /// # Errors
    /// `KeyUnavailableException`.
    pub fn key_lives(&self) -> Result<Vec<KeyLife>> {
        let table = self.core.table()?;
        let records = table.entries_after(None).map(|entry| &entry.record);
        let charged = records.filter(|record| record.manager == KeyManager::Customer);
        let life = charged.map(|record| KeyLife {
            id: record.id.to_string(),
            created: record.created,
            rotations: record
                .materials
                .iter()
                .filter(|material| material.rotation != RotationType::Initial)
                .map(|material| material.created)
                .collect(),
            deletion: record.destroyed.or(record.deletion_date),
        });
        Ok(life.collect())
    }
}

/// A line of a bill.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Line {
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that were answered with an error; they are free.
    pub failed: u64,
    /// What the calls cost.
    pub requests: f64,
    /// What the keys themselves cost.
    pub keys: f64,
}

impl Line {
    /// What it comes to.
    pub fn total(&self) -> f64 {
        self.requests + self.keys
    }

    fn add(&mut self, other: &Line) {
        self.calls += other.calls;
        self.failed += other.failed;
        self.requests += other.requests;
        self.keys += other.keys;
    }
}

/// A month's bill.
#[derive(Debug, Clone, PartialEq)]
pub struct Bill {
    /// A line for each key, principal or operation; `None` for calls without one. Where keys are not what is asked
    /// for, what they cost themselves is in [`Bill::keys`] alone.
    pub lines: BTreeMap<Option<String>, Line>,
    /// What all keys cost themselves.
    pub keys: f64,
    /// What the free calls would have cost: to be taken off.
    pub free: f64,
    /// Everything, free calls taken off.
    pub total: Line,
}

impl Bill {
    /// Makes the bill of `month`, if it is `now`.
    pub fn new(
        ledger: &Ledger,
        keys: &[KeyLife],
        month: Month,
        by: By,
        prices: &Prices,
        now: OffsetDateTime,
    ) -> Bill {
        let mut lines: BTreeMap<Option<String>, Line> = BTreeMap::new();
        let mut eligible = 0;
        for (group, tally) in ledger.month(month) {
            let name = match by {
                By::Key => group.key.clone(),
                By::Principal => group.principal.clone(),
                By::Operation => Some(group.operation.clone()),
            };
            if group.tariff == Tariff::Symmetric {
                eligible += tally.calls;
            }
            let requests = prices.calls(group.tariff, tally.calls);
            let line = Line { calls: tally.calls, failed: tally.failed, requests, keys: 0.0 };
            lines.entry(name).or_default().add(&line);
        }
        let mut all = 0.0;
        for key in keys {
            let cost = key.cost(month, prices, ledger.scheduled(&key.id), now);
            all += cost;
            if by == By::Key && cost > 0.0 {
                lines.entry(Some(key.id.clone())).or_default().keys += cost;
            }
        }
        let free = prices.calls(Tariff::Symmetric, eligible.min(prices.free_requests));
        let mut total = Line::default();
        lines.values().for_each(|line| total.add(line));
        total.keys = all;
        total.requests -= free;
        Bill { lines, keys: all, free, total }
    }
}

impl KeyLife {
    /// What the key itself costs in `month`, up to `now`, if its deletion was `scheduled` then.
    fn cost(
        &self,
        month: Month,
        prices: &Prices,
        scheduled: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> f64 {
        let end =
            self.deletion.map_or(now, |due| scheduled.unwrap_or(due).min(due).min(now)).min(month.end());
        let hours = |from: OffsetDateTime| {
            let span = end - from.max(month.begin());
            let seconds = span.max(Duration::ZERO).whole_seconds();
            (seconds + 3599) / 3600 // an hour that was begun counts
        };
        let charged = self.rotations.iter().take(prices.charged_rotations as usize);
        let hours: i64 = hours(self.created) + charged.map(|rotated| hours(*rotated)).sum::<i64>();
        hours as f64 * prices.key_month / (month.end() - month.begin()).whole_hours() as f64
    }
}
