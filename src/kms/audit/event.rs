//! What a line of the audit log says.
//!
//! JSON, one object a line, members in the order they have here. A member that says nothing is left out: no
//! `error` means success, no `dryRun` means that it was none. Times are RFC 3339 in UTC, to the millisecond.

use super::chain::Hash;
use crate::kms::context::EncryptionContext;
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

/// Most bytes of a text that a client chooses freely: its user agent, the operation it asks for, whose key it says it
/// uses.
const TEXT_MAX: usize = 256;

/// What the names of operations begin with that change what the keystore holds.
const CHANGES: &[&str] = &[
    "Bind",
    "Cancel",
    "Create",
    "Delete",
    "Destroy",
    "Disable",
    "Enable",
    "HsmAdd",
    "HsmRemove",
    "HsmRun",
    "HsmSet",
    "Import",
    "Put",
    "Retire",
    "Revoke",
    "Rotate",
    "Schedule",
    "Tag",
    "Untag",
    "Update",
];

/// One call of the KMS: who asked for what, on which key, and what came of it. Holds no secret: no plaintext, no
/// ciphertext, no key material, no token.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallRecord {
    /// When the call arrived.
    #[serde(with = "timestamp")]
    pub time: OffsetDateTime,
    /// The id the answer carried.
    pub request_id: Uuid,
    /// ARN of the principal; `None` for a caller who could not be authenticated.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub principal: Option<String>,
    /// Id of the access key that the request says it is signed with, whether or not it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub access_key_id: Option<String>,
    /// Where it came from.
    pub source: Source,
    /// The client's name for itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_agent: Option<String>,
    /// The operation, by AWS KMS's name; what the client asked for if there is no such operation.
    pub operation: Cow<'static, str>,
    /// ARN of the key that was used, or that the call was refused on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// What was computed with: the spec of `key`, or of the data key pair that was made. Decides the price.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spec: Option<Cow<'static, str>>,
    /// The encryption context; for `ReEncrypt` that of the new ciphertext.
    #[serde(skip_serializing_if = "EncryptionContext::is_empty", default)]
    pub context: EncryptionContext,
    /// `ReEncrypt`: ARN of the key of the old ciphertext.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source_key: Option<String>,
    /// `ReEncrypt`: the encryption context of the old ciphertext.
    #[serde(skip_serializing_if = "EncryptionContext::is_empty", default)]
    pub source_context: EncryptionContext,
    /// Id of the grant that allowed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub grant: Option<String>,
    /// The custodian who asked for it, where custodians approved.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requested_by: Option<String>,
    /// The custodians who approved it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub approved_by: Vec<String>,
    /// Whether the operation changes nothing in the keystore.
    pub read_only: bool,
    /// AWS KMS's name of the error it was answered with.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<Cow<'static, str>>,
    /// Whether the client only asked if it were allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub dry_run: bool,
    /// How long it took, in microseconds.
    pub micros: u64,
}

impl CallRecord {
    /// The record of a call that has just arrived, of an operation by its name in the API; what becomes known of it
    /// later is filled in.
    pub fn new(
        time: OffsetDateTime,
        request_id: Uuid,
        source: Source,
        operation: impl Into<Cow<'static, str>>,
    ) -> CallRecord {
        let operation = operation.into();
        CallRecord {
            time,
            request_id,
            principal: None,
            access_key_id: None,
            source,
            user_agent: None,
            read_only: is_read_only(&operation),
            operation,
            key: None,
            spec: None,
            context: EncryptionContext::new(),
            source_key: None,
            source_context: EncryptionContext::new(),
            grant: None,
            requested_by: None,
            approved_by: Vec::new(),
            error: None,
            dry_run: false,
            micros: 0,
        }
    }

    /// Notes that the call is of another operation than it arrived as.
    pub(in crate::kms) fn is_of(&mut self, operation: &'static str) {
        (self.read_only, self.operation) = (is_read_only(operation), operation.into());
    }

    /// Notes how long the call took.
    pub fn took(&mut self, time: Duration) {
        self.micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    }

    /// Cuts what a client may make as long as it likes.
    pub(super) fn clip(&mut self) {
        if self.operation.len() > TEXT_MAX {
            clip(self.operation.to_mut());
        }
        for text in [&mut self.user_agent, &mut self.access_key_id].into_iter().flatten() {
            clip(text);
        }
    }

    /// About how much memory it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        let texts = [
            &self.principal,
            &self.access_key_id,
            &self.user_agent,
            &self.key,
            &self.source_key,
            &self.grant,
            &self.requested_by,
        ];
        let texts = texts.into_iter().flatten().chain(&self.approved_by).map(String::len).sum::<usize>();
        let pairs = self.context.pairs().chain(self.source_context.pairs());
        size_of::<CallRecord>()
            + texts
            + pairs.map(|(name, value)| 64 + name.len() + value.len()).sum::<usize>()
    }
}

fn is_read_only(operation: &str) -> bool {
    !CHANGES.iter().any(|verb| operation.starts_with(verb))
}

fn clip(text: &mut String) {
    if text.len() > TEXT_MAX {
        let boundary = (0..=TEXT_MAX).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(boundary.unwrap_or(0));
        text.push('…');
    }
}

/// The id in the ARN of a key. ARNs of one key differ by the region that a client speaks of.
pub fn key_id(arn: &str) -> &str {
    arn.rsplit_once(":key/").map_or(arn, |(_, id)| id)
}

/// Where a call came from. In JSON a text: an IP address, or `uid:` and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Over TCP, from this address.
    Address(IpAddr),
    /// Through the unix socket or on the command line, from a process of this user.
    User(u32),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Address(address) => address.fmt(f),
            Source::User(uid) => write!(f, "uid:{uid}"),
        }
    }
}

impl std::str::FromStr for Source {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Source, &'static str> {
        let source = match text.strip_prefix("uid:") {
            Some(uid) => uid.parse().ok().map(Source::User),
            None => text.parse().ok().map(Source::Address),
        };
        source.ok_or("expected an IP address or uid:NUMBER")
    }
}

impl serde::Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Source, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A line of the log.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
#[allow(clippy::large_enum_variant, reason = "nearly every event is a call")]
pub enum Event {
    /// A call.
    Call(CallRecord),
    /// The first line of a segment file. It repeats the chain value it follows, so that the segment can be
    /// verified without those before it.
    Segment {
        /// When the segment was begun.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// The segment's number.
        segment: u64,
        /// The log's id.
        log: Uuid,
        /// The chain value of the line before.
        previous: Hash,
    },
    /// A process began to write.
    Started {
        /// When.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// Its version.
        version: Cow<'static, str>,
    },
    /// It stopped in good order. A `started` that no `stopped` precedes follows a crash.
    Stopped {
        /// When.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
    },
    /// Calls that could not be written.
    Lost {
        /// When writing succeeded again.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// When the first of them was lost.
        #[serde(with = "timestamp")]
        since: OffsetDateTime,
        /// How many.
        calls: u64,
    },
    /// A crash had left bytes at the end of a segment that are no whole line; they were cut off.
    Torn {
        /// When they were found.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// The segment.
        segment: u64,
        /// Where in it.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// The first of them, as far as they are text.
        text: String,
    },
    /// The storage refused to say that lines it had taken are durable. A power cut at that time may have broken
    /// the chain there.
    Unsure {
        /// When.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// The first of those lines.
        from: u64,
        /// The last.
        to: u64,
        /// What the storage said.
        reason: String,
    },
    /// When a process began to write, the log was not as the one before had left it.
    Gap {
        /// When that was found.
        #[serde(with = "timestamp")]
        time: OffsetDateTime,
        /// What is missing.
        reason: String,
    },
}

impl Event {
    /// When it happened, or was found.
    pub fn time(&self) -> OffsetDateTime {
        match self {
            Event::Call(CallRecord { time, .. })
            | Event::Segment { time, .. }
            | Event::Started { time, .. }
            | Event::Stopped { time }
            | Event::Lost { time, .. }
            | Event::Torn { time, .. }
            | Event::Unsure { time, .. }
            | Event::Gap { time, .. } => *time,
        }
    }
}

/// RFC 3339 in UTC, always with three digits of a second, so that lines sort by their text.
pub(super) mod timestamp {
    use serde::Deserialize;
    use time::format_description::well_known::Rfc3339;
    use time::{OffsetDateTime, UtcOffset};

    struct Text(OffsetDateTime);

    impl std::fmt::Display for Text {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let (date, time) = (self.0.date(), self.0.time());
            let (hour, minute, second, milli) = time.as_hms_milli();
            let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
            write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
        }
    }

    pub(in super::super) fn serialize<S: serde::Serializer>(
        time: &OffsetDateTime,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Text(time.to_offset(UtcOffset::UTC)))
    }

    pub(in super::super) fn deserialize<'de, D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> Result<OffsetDateTime, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        OffsetDateTime::parse(&text, &Rfc3339).map_err(serde::de::Error::custom)
    }
}
