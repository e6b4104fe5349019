//! The chain against services on this machine that say what a test tells them to.

#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

const HOUR: Duration = Duration::from_secs(3600);

/// Serves on a port of this machine: what `answer` makes of the whole text of each request, as status and body.
fn serve(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            loop {
                let mut buffer = [0; 4096];
                let count = stream.read(&mut buffer).unwrap();
                request.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
                let Some((head, body)) = request.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() == length.map_or(0, |length| length.parse().unwrap()) {
                    break;
                }
            }
            let (status, body) = answer(&request);
            // As the agents of containers do with longer ones.
            let head = format!("HTTP/1.1 {status} x\r\ntransfer-encoding: chunked\r\n\r\n");
            let (first, last) = body.split_at(body.len() / 2);
            let chunks = [first, last].into_iter().filter(|chunk| !chunk.is_empty());
            let chunks: String = chunks.map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
            stream.write_all(format!("{head}{chunks}0\r\n\r\n").as_bytes()).unwrap();
        }
    });
    url
}

/// An environment with nothing but these variables, and `home`.
fn environment(variables: &[(&str, &str)], home: Option<PathBuf>) -> Environment {
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Environment { variables: Box::new(move |name| variables.get(name).cloned()), home }
}

/// A home directory with these files of AWS's.
fn home(config: &str, credentials: &str) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join(".aws")).unwrap();
    std::fs::write(home.path().join(".aws/config"), config).unwrap();
    std::fs::write(home.path().join(".aws/credentials"), credentials).unwrap();
    home
}

/// No request leaves this machine.
const NOWHERE: (&str, &str) = ("AWS_EC2_METADATA_DISABLED", "true");

fn found(environment: &Environment) -> Result<(String, Option<String>), String> {
    let found = look(environment, Instant::now() + Duration::from_secs(20))?;
    assert_eq!(found.secret.expose(), b"secret");
    Ok((found.access_key, found.token))
}

fn printed(access_key: &str, ends: OffsetDateTime) -> String {
    let ends = ends.format(&Rfc3339).unwrap();
    format!(
        r#"{{"Version":1,"Code":"Success","AccessKeyId":"{access_key}","SecretAccessKey":"secret","Token":"token","Expiration":"{ends}"}}"#
    )
}

fn of_sts(access_key: &str) -> String {
    let ends = (OffsetDateTime::now_utc() + HOUR).format(&Rfc3339).unwrap();
    format!(
        "<R><Credentials>\n<AccessKeyId>{access_key}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>\
         <SessionToken>token</SessionToken><Expiration>{ends}</Expiration></Credentials></R>"
    )
}

#[test]
fn the_environment_comes_first_then_the_profile_and_nothing_is_said_to_be_nothing() {
    let home = home("", "[default]\naws_access_key_id=FILE\naws_secret_access_key=secret\n");
    let path = Some(home.path().to_owned());
    let key = [("AWS_ACCESS_KEY_ID", "ENV"), ("AWS_SECRET_ACCESS_KEY", "secret"), ("AWS_SESSION_TOKEN", "")];
    assert_eq!(found(&environment(&key, path.clone())), Ok(("ENV".into(), None)));
    assert_eq!(found(&environment(&key[..1], path.clone())), Ok(("FILE".into(), None)), "half a key is none");
    let error = found(&environment(&[NOWHERE, ("AWS_PROFILE", "other")], path)).unwrap_err();
    assert!(error.contains("no profile [other]"), "{error}");
    let error = found(&environment(&[NOWHERE], None)).unwrap_err();
    assert!(error.contains("there are no credentials"), "{error}");
}

#[test]
fn a_program_prints_credentials() {
    let text = printed("PRINTED", OffsetDateTime::now_utc() + HOUR);
    let config = |process: &str| format!("[default]\ncredential_process = {process}\n");
    let run = |process: &str| {
        let home = home(&config(process), "");
        found(&environment(&[NOWHERE], Some(home.path().to_owned())))
    };
    assert_eq!(run(&format!("echo '{text}'")), Ok(("PRINTED".into(), Some("token".into()))));
    for (process, words) in [("exit 3", "exit status: 3"), ("echo x", "are no credentials"), ("/none", "127")]
    {
        let error = run(process).unwrap_err();
        assert!(error.contains(words), "{process}: {error}");
    }
    let began = Instant::now();
    let error = process::credentials("sleep 60", began + Duration::from_millis(100)).unwrap_err();
    assert!(error.contains("too long") && began.elapsed() < Duration::from_secs(30), "{error}");
}

#[test]
fn a_role_is_assumed_from_another_profile_and_from_another_role() {
    let url = serve(|request| {
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(
            body.starts_with("Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2F")
        );
        let by = |key: &str| head.contains(&format!("Credential={key}/")) && head.contains("/eu-west-1/sts/");
        match body {
            _ if body.contains("role%2Finner") && by("STATIC") => (200, of_sts("INNER")),
            _ if body.contains("role%2Fouter&RoleSessionName=me&ExternalId=a%20b") && by("INNER") => {
                assert!(head.contains("x-amz-security-token: token"));
                (200, of_sts("OUTER"))
            }
            _ => (403, "<E><Code>AccessDenied</Code><Message>no</Message></E>".into()),
        }
    });
    let config = "[profile outer]\nrole_arn=arn:aws:iam::1:role/outer\nsource_profile=inner\nrole_session_name=me\n\
                  external_id=a b\n[profile inner]\nrole_arn=arn:aws:iam::1:role/inner\nsource_profile=static\n\
                  [profile other]\nrole_arn=arn:aws:iam::1:role/other\nsource_profile=static\n\
                  [profile loop]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=loop2\n\
                  [profile loop2]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=loop\n\
                  [profile mfa]\nrole_arn=arn:aws:iam::1:role/x\nsource_profile=static\nmfa_serial=1\n\
                  [profile sso]\nsso_session=x\n";
    let home = home(config, "[static]\naws_access_key_id=STATIC\naws_secret_access_key=secret\n");
    let profile = |name: &str| {
        let variables =
            [NOWHERE, ("AWS_PROFILE", name), ("AWS_ENDPOINT_URL_STS", &url), ("AWS_REGION", "eu-west-1")];
        found(&environment(&variables, Some(home.path().to_owned())))
    };
    assert_eq!(profile("inner"), Ok(("INNER".into(), Some("token".into()))));
    assert_eq!(profile("outer"), Ok(("OUTER".into(), Some("token".into()))));
    for (name, words) in [
        ("other", "AccessDenied: no"),
        ("loop", "lead to no end"),
        ("mfa", "mfa_serial"),
        ("sso", "credential_process = aws configure export-credentials --profile sso"),
    ] {
        let error = profile(name).unwrap_err();
        assert!(error.contains(words), "{name}: {error}");
    }
}

#[test]
fn a_token_gives_a_role_without_a_signature() {
    let url = serve(|request| {
        let good = request.contains("Action=AssumeRoleWithWebIdentity&")
            && request.ends_with("&WebIdentityToken=ey.J");
        assert!(!request.contains("authorization:"));
        if good { (200, of_sts("WEB")) } else { (400, String::new()) }
    });
    let home = home("", "");
    let file = home.path().join("token");
    std::fs::write(&file, "ey.J\n").unwrap();
    let variables = [
        NOWHERE,
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/web"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.to_str().unwrap()),
        ("AWS_ENDPOINT_URL", &url),
    ];
    assert_eq!(found(&environment(&variables, None)), Ok(("WEB".into(), Some("token".into()))));
    std::fs::write(&file, "other").unwrap();
    let error = found(&environment(&variables, None)).unwrap_err();
    assert!(error.contains("status 400"), "{error}");
}

#[test]
fn a_container_has_a_role_that_nobody_hears_of_in_the_clear() {
    let url = serve(|request| match request.starts_with("GET /creds?x=1 HTTP/1.1\r\n") {
        true if request.contains("\r\nauthorization: Bearer x\r\n") => {
            (200, printed("CONTAINER", OffsetDateTime::now_utc() + HOUR))
        }
        _ => (403, String::new()),
    });
    let url = format!("{url}/creds?x=1");
    let token = ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "Bearer x");
    fn full(url: &str) -> (&str, &str) {
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url)
    }
    let one = found(&environment(&[NOWHERE, full(&url), token], None));
    assert_eq!(one, Ok(("CONTAINER".into(), Some("token".into()))));
    let error = found(&environment(&[NOWHERE, full(&url)], None)).unwrap_err();
    assert!(error.contains("status 403"), "{error}");
    for url in ["http://192.0.2.1/creds", "http://kms.example/"] {
        let error = found(&environment(&[NOWHERE, full(url), token], None)).unwrap_err();
        assert!(error.contains("in the clear"), "{error}");
    }
}

#[test]
fn an_instance_has_a_role_by_the_second_version_of_its_metadata_service() {
    let url = serve(|request| {
        let has_token = request.contains("\r\nx-aws-ec2-metadata-token: t0ken==\r\n");
        let line = request.lines().next().unwrap();
        match line.strip_suffix(" HTTP/1.1").unwrap() {
            "PUT /latest/api/token" => (200, "t0ken==".into()),
            "GET /latest/meta-data/iam/security-credentials/" if has_token => (200, "role-1\n".into()),
            "GET /latest/meta-data/iam/security-credentials/role-1" if has_token => {
                (200, printed("INSTANCE", OffsetDateTime::now_utc() + HOUR))
            }
            _ => (401, String::new()),
        }
    });
    let at = |url: &str| environment(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)], None);
    assert_eq!(found(&at(&url)), Ok(("INSTANCE".into(), Some("token".into()))));
    // Version 1 alone, or no such service.
    for url in [serve(|_| (404, String::new())), "http://127.0.0.1:1".into()] {
        assert!(found(&at(&url)).unwrap_err().contains("there are no credentials"));
    }
}

/// A chain whose credentials last for `lifetime`, and how often they were asked for.
fn chain(lifetime: Duration, good: usize) -> (Chain, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let url = serve(move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        count if count < good => (200, printed(&format!("KEY{count}"), OffsetDateTime::now_utc() + lifetime)),
        _ => (500, String::new()),
    });
    (Chain::new(environment(&[NOWHERE, ("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)], None)), asked)
}

fn current(chain: &Chain) -> Result<String, String> {
    chain.current(Instant::now() + Duration::from_secs(20)).map(|found| found.access_key.clone())
}

#[test]
fn credentials_are_replaced_before_they_end_and_no_sooner() {
    let (lasting, asked) = chain(HOUR, 9);
    for _ in 0..3 {
        assert_eq!(current(&lasting).unwrap(), "KEY0");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert!(lasting.renew(), "a service has refused them");
    assert_eq!(current(&lasting).unwrap(), "KEY1");

    let (ending, _) = chain(EARLY / 2, 9);
    for key in ["KEY0", "KEY1", "KEY2"] {
        assert_eq!(current(&ending).unwrap(), key);
    }
}

#[test]
fn credentials_that_cannot_be_replaced_serve_to_their_end() {
    let (ending, asked) = chain(EARLY / 2, 1);
    for _ in 0..3 {
        assert_eq!(current(&ending).unwrap(), "KEY0");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 2, "nobody tries again for a while");
    let (ended, _) = chain(Duration::ZERO, 1);
    current(&ended).unwrap();
    assert!(current(&ended).unwrap_err().contains("status 500"));
}
