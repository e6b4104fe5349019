//! What to sign requests with: found where AWS's clients find it.
//!
//! `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or else the profile `AWS_PROFILE` (`default`) of the file
//! `AWS_SHARED_CREDENTIALS_FILE` (`~/.aws/credentials`). The region is `AWS_REGION`, or `AWS_DEFAULT_REGION`, or
//! `local`.

use crate::crypto::SecretBytes;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// An access key.
#[derive(Debug)]
pub(super) struct Credentials {
    /// The public half.
    pub(super) access_key: String,
    /// The secret half.
    pub(super) secret: SecretBytes,
    /// The token of temporary credentials.
    pub(super) token: Option<String>,
    /// The region to sign for.
    pub(super) region: String,
}

impl Credentials {
    /// Finds them.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(super) fn find() -> Result<Credentials, String> {
        let region = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter().find_map(variable);
        let region = region.unwrap_or_else(|| "local".to_owned());
        if let (Some(access_key), Some(secret)) =
            (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            let token = variable("AWS_SESSION_TOKEN");
            return Ok(Credentials { access_key, secret: SecretBytes::from(secret), token, region });
        }
        let file = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let file = file.or_else(|| Some(std::env::home_dir()?.join(".aws/credentials")));
        let file = file.ok_or("there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")?;
        let profile = variable("AWS_PROFILE").unwrap_or_else(|| "default".to_owned());
        let text = std::fs::read_to_string(&file).map(Zeroizing::new).map_err(|error| {
            format!(
                "{}: {error}; AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set either",
                file.display()
            )
        })?;
        let found = in_profile(&text, &profile).map(|found| Credentials { region, ..found });
        found.ok_or_else(|| format!("{}: there is no access key in the profile [{profile}]", file.display()))
    }
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The access key of a profile, in the text of a credentials file.
fn in_profile(text: &str, profile: &str) -> Option<Credentials> {
    let (mut here, mut access_key, mut secret, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            here = name.trim() == profile;
        } else if let (true, Some((name, value))) = (here, line.split_once('=')) {
            let place = match name.trim() {
                "aws_access_key_id" => &mut access_key,
                "aws_secret_access_key" => &mut secret,
                "aws_session_token" => &mut token,
                _ => continue,
            };
            *place = Some(value.trim().to_owned());
        }
    }
    Some(Credentials {
        access_key: access_key?,
        secret: SecretBytes::from(secret?),
        token,
        region: String::new(),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const FILE: &str = "# mine\n[other]\naws_access_key_id = O\naws_secret_access_key=o\n\n[ default ]\n\
                        aws_access_key_id=ID\nregion = x\n  aws_secret_access_key = se/cr=et+  \n[half]\n\
                        aws_access_key_id = H\n[temporary]\naws_access_key_id = T\naws_secret_access_key = t\n\
                        aws_session_token = tok==\n";

    #[test]
    fn a_profile_is_found() {
        let found = in_profile(FILE, "default").unwrap();
        assert_eq!((found.access_key.as_str(), found.secret.expose()), ("ID", &b"se/cr=et+"[..]));
        assert_eq!(found.token, None);
        assert_eq!(in_profile(FILE, "temporary").unwrap().token.as_deref(), Some("tok=="));
    }

    #[test]
    fn half_a_key_is_none() {
        for profile in ["half", "missing", ""] {
            assert!(in_profile(FILE, profile).is_none());
        }
    }
}
