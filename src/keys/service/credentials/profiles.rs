//! Profiles: the files `~/.aws/config` and `~/.aws/credentials`, and what a profile there leads to.

use super::sts::{self, Role};
use super::{Credentials, Environment, container, instance, process};
use crate::crypto::SecretBytes;
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Instant;
use zeroize::Zeroizing;

/// How many roles may be assumed one after the other.
const ROLES_MAX: usize = 8;

/// The settings of a profile, by name.
type Profile = HashMap<String, Zeroizing<String>>;

/// Profiles of both files. What a profile has in the credentials file counts more.
#[derive(Default)]
pub(super) struct Profiles {
    by_name: HashMap<String, Profile>,
}

impl Profiles {
    /// Reads the files that the environment names, or those in the home directory; one that is not there is empty.
    ///
    /// # Errors
    /// One cannot be read.
    pub(super) fn read(environment: &Environment) -> Result<Profiles, String> {
        let mut profiles = Profiles::default();
        for (variable, name, prefix) in
            [("AWS_CONFIG_FILE", "config", "profile "), ("AWS_SHARED_CREDENTIALS_FILE", "credentials", "")]
        {
            let named = environment.get(variable).map(PathBuf::from);
            let in_home = || Some(environment.home.as_ref()?.join(".aws").join(name));
            let Some(file) = named.or_else(in_home) else { continue };
            match std::fs::read_to_string(&file).map(Zeroizing::new) {
                Ok(text) => profiles.add(&text, prefix),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(format!("{}: {error}", file.display())),
            }
        }
        Ok(profiles)
    }

    /// Adds the profiles in the text of a file whose sections are `[PREFIX NAME]`, or `[default]`.
    fn add(&mut self, text: &str, prefix: &str) {
        let mut profile: Option<&mut Profile> = None;
        for line in text.lines() {
            if let Some(header) = line.strip_prefix('[') {
                let header = header.split(']').next().unwrap_or(header).trim();
                let name = match header.strip_prefix(prefix) {
                    Some(name) => Some(name.trim()),
                    None if header == "default" => Some(header),
                    None => None, // of a kind that has no credentials
                };
                profile = name.map(|name| self.by_name.entry(name.to_owned()).or_default());
            } else if let (Some(profile), Some((name, value))) = (&mut profile, setting(line)) {
                profile.insert(name, Zeroizing::new(value.to_owned()));
            }
        }
    }

    /// The region of the profile that the environment names.
    pub(super) fn region(&self, environment: &Environment) -> Option<String> {
        let (name, _) = chosen(environment);
        Some(self.by_name.get(&name)?.get("region")?.to_string())
    }

    /// The credentials of the profile that the environment names, or of `default`; `None` if there is no profile
    /// `default`, or it says nothing of credentials.
    ///
    /// # Errors
    /// The profile that was named is not there; what it says leads to no credentials.
    pub(super) fn credentials(
        &self,
        environment: &Environment,
        deadline: Instant,
    ) -> Result<Option<Credentials>, String> {
        let (name, named) = chosen(environment);
        if named && !self.by_name.contains_key(&name) {
            return Err(format!("there is no profile [{name}] in ~/.aws/config and ~/.aws/credentials"));
        }
        let search = Search { profiles: self, environment, deadline };
        search.profile(&name, ROLES_MAX).map_err(|what| format!("profile [{name}]: {what}"))
    }
}

/// The name of the profile, and whether somebody chose it.
fn chosen(environment: &Environment) -> (String, bool) {
    environment.get("AWS_PROFILE").map_or_else(|| ("default".to_owned(), false), |name| (name, true))
}

/// A line `NAME = VALUE`. Lines that begin with a space belong to the setting before; no setting that is read here has
/// any.
fn setting(line: &str) -> Option<(String, &str)> {
    if line.starts_with([' ', '\t', '#', ';']) {
        return None;
    }
    let (name, value) = line.split_once('=')?;
    // A comment may follow after a space.
    let end = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| value.find(mark)).min();
    Some((name.trim().to_ascii_lowercase(), value[..end.unwrap_or(value.len())].trim()))
}

/// A way from profile to profile.
struct Search<'a> {
    profiles: &'a Profiles,
    environment: &'a Environment,
    deadline: Instant,
}

impl Search<'_> {
    /// The credentials of the profile `name`, behind at most `roles` roles.
    fn profile(&self, name: &str, roles: usize) -> Result<Option<Credentials>, String> {
        let Some(profile) = self.profiles.by_name.get(name) else { return Ok(None) };
        let get =
            |name: &str| profile.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty());
        if let Some(arn) = get("role_arn") {
            let role = Role {
                arn: arn.to_owned(),
                session: get("role_session_name").map(str::to_owned),
                external_id: get("external_id").map(str::to_owned),
                seconds: get("duration_seconds").map(str::to_owned),
            };
            return self.role(name, profile, &role, roles).map(Some);
        }
        if let Some(credentials) = access_key(profile) {
            return Ok(Some(credentials));
        }
        if let Some(command) = get("credential_process") {
            return process::credentials(command, self.deadline).map(Some);
        }
        if get("sso_session").or(get("sso_start_url")).is_some() {
            return Err(format!(
                "its credentials come of a sign-in (SSO), which is left to AWS's command line: use a profile with \
                 credential_process = aws configure export-credentials --profile {name}"
            ));
        }
        Ok(None)
    }

    /// Assumes the role of a profile.
    fn role(&self, name: &str, profile: &Profile, role: &Role, roles: usize) -> Result<Credentials, String> {
        let roles = roles.checked_sub(1).ok_or("its roles lead to no end")?;
        let get = |name: &str| profile.get(name).map(|value| value.as_str());
        let region = get("region").map(str::to_owned).or_else(|| self.profiles.region(self.environment));
        let (environment, deadline) = (self.environment, self.deadline);
        if get("mfa_serial").is_some() {
            return Err("its role asks for a code (mfa_serial), and nobody is here to give one".to_owned());
        }
        if let Some(file) = get("web_identity_token_file") {
            return sts::assume_with_token(environment, region, file, role, deadline);
        }
        let source = match (get("source_profile"), get("credential_source")) {
            (Some(source), _) if source == name => access_key(profile),
            (Some(source), _) => self.profile(source, roles)?,
            (None, Some("Environment")) => environment.access_key(),
            (None, Some("EcsContainer")) => container::credentials(environment, deadline)?,
            (None, Some("Ec2InstanceMetadata")) => instance::credentials(environment, deadline)?,
            (None, Some(source)) => return Err(format!("credential_source {source:?} is not known")),
            (None, None) => return Err("role_arn needs source_profile or credential_source".to_owned()),
        };
        let source = source.ok_or("where its role is to be assumed from, there are no credentials")?;
        sts::assume(environment, region, &source, role, deadline)
    }
}

/// The access key in a profile itself.
fn access_key(profile: &Profile) -> Option<Credentials> {
    let get = |name: &str| profile.get(name).map(|value| value.as_str()).filter(|value| !value.is_empty());
    let (access_key, secret) = (get("aws_access_key_id")?, get("aws_secret_access_key")?);
    Some(Credentials {
        access_key: access_key.to_owned(),
        secret: SecretBytes::from(secret.to_owned()),
        token: get("aws_session_token").map(str::to_owned),
        ends: None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "# mine\n[other]\naws_access_key_id = O\naws_secret_access_key=o\n\n[ default ]\n\
        aws_access_key_id=ID ; the first\nregion = x\ns3 =\n  aws_secret_access_key = nested\n\
        aws_secret_access_key = se/cr=et+#1 # the second\n[half]\naws_access_key_id = H\n[temporary]\n\
        aws_access_key_id = T\naws_secret_access_key = t\naws_session_token = tok==\n";

    fn profiles(config: &str, credentials: &str) -> Profiles {
        let mut profiles = Profiles::default();
        profiles.add(config, "profile ");
        profiles.add(credentials, "");
        profiles
    }

    #[test]
    fn a_profile_is_found() {
        let profiles = profiles("", CREDENTIALS);
        let found = access_key(&profiles.by_name["default"]).unwrap();
        assert_eq!((found.access_key.as_str(), found.secret.expose()), ("ID", &b"se/cr=et+#1"[..]));
        assert_eq!(found.token, None);
        let temporary = access_key(&profiles.by_name["temporary"]).unwrap();
        assert_eq!(temporary.token.as_deref(), Some("tok=="));
        assert!(access_key(&profiles.by_name["half"]).is_none(), "half a key is none");
    }

    #[test]
    fn the_credentials_file_counts_more_than_the_config() {
        let config = "[default]\nregion=eu-west-1\naws_access_key_id=C\n[profile a b]\nregion = r\n\
                      [sso-session x]\nregion = no\n[unprefixed]\nregion = no\n";
        let profiles = profiles(config, "[default]\naws_access_key_id=ID\n[x]\n");
        let get = |profile: &str, name: &str| profiles.by_name[profile].get(name).map(|v| v.to_string());
        assert_eq!(get("default", "aws_access_key_id").as_deref(), Some("ID"));
        assert_eq!(get("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(get("a b", "region").as_deref(), Some("r"));
        assert_eq!(get("x", "region"), None);
        assert!(!profiles.by_name.contains_key("unprefixed"));
    }
}
