//! What the service answers when it cannot do as asked.

use crate::hsm::approval::Refused;
use crate::kms;
use hyper::StatusCode;

/// The result of a part of serving a request.
pub type Result<T> = std::result::Result<T, Error>;

/// An error as a client sees it: a name that programs act on, and a message for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    name: &'static str,
    message: String,
}

impl Error {
    /// An error of AWS's `name`.
    pub fn new(name: &'static str, message: impl Into<String>) -> Error {
        Error { name, message: message.into() }
    }

    /// The request cannot be read.
    pub fn serialization(message: impl Into<String>) -> Error {
        Error::new("SerializationException", message)
    }

    /// The request asks for something that this service does not do.
    pub fn unsupported(message: impl Into<String>) -> Error {
        Error::new("UnsupportedOperationException", message)
    }

    /// The request names an operation that does not exist, or none.
    pub fn unknown_operation() -> Error {
        Error::new("UnknownOperationException", "")
    }

    /// AWS's name for it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What to tell people; may be empty, as it is where AWS tells nothing on purpose.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The body it travels in: `{"__type": …, "message": …}`.
    pub fn body(&self) -> Vec<u8> {
        let document = match self.message.as_str() {
            "" => serde_json::json!({ "__type": self.name }),
            message => serde_json::json!({ "__type": self.name, "message": message }),
        };
        document.to_string().into_bytes()
    }

    /// The HTTP status it travels with.
    pub fn status(&self) -> StatusCode {
        match self.name {
            "KMSInternalException" | "KeyUnavailableException" => StatusCode::INTERNAL_SERVER_ERROR,
            "DependencyTimeoutException" => StatusCode::SERVICE_UNAVAILABLE,
            "RequestEntityTooLargeException" => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Error {
        Error::new(refused.name(), refused.to_string())
    }
}

impl From<kms::Error> for Error {
    /// Where AWS gives no reason, none is given. What happened inside the service is for its log, not for
    /// clients: it names files.
    fn from(error: kms::Error) -> Error {
        let name = error.name();
        match name {
            "KMSInternalException" | "KeyUnavailableException" => {
                log::error!("{name}: {error}");
                Error::new(name, "The request could not be served; the server's log says why.")
            }
            _ => Error::new(name, error.public_message().unwrap_or_default()),
        }
    }
}
