//! A connection to a NATS server: at first it is there or there is one line, later it is sought for ever.

use std::ffi::OsStr;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{AccountErrorKind, ObjectStoreError, ObjectStoreErrorKind};
use async_nats::jetstream::object_store::ObjectStore;
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;

use super::names;

/// The smallest limit of a message that will do: chunks of keys have 128 KiB, and so have the tables of 8 lookups.
const SMALLEST_MESSAGE: usize = 256 << 10;
/// What a message has besides what is sent: subject and headers.
const MESSAGE_HEAD: usize = 1 << 10;
/// How long it is waited for a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest time between two attempts to connect again.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where the NATS server is, and who asks.
#[derive(clap::Args, Clone, Debug)]
pub struct NatsOptions {
    /// NATS server by which work is handed out: nats://HOST, or tls://HOST for an encrypted connection
    ///
    /// The port is 4222 if none is given. A user's name and password can stand before the host: nats://NAME:PASSWORD@HOST, with %40 for
    /// @, %3A for : and %2F for /. The servers of a cluster are separated by commas. The NATS server needs JetStream, its part that keeps
    /// messages.
    #[arg(id = "engine", long = "engine", value_name = "URL", value_parser = Unrepeated)]
    pub url: EngineUrl,
    /// File of NATS credentials (.creds), if that is how the NATS server knows its users
    #[arg(long = "nats-creds", value_name = "FILE", requires = "engine")]
    pub credentials: Option<PathBuf>,
    /// File with the certificate of the authority that signed the NATS server's, in PEM; the connection is encrypted then
    ///
    /// Without it, those that this system trusts are accepted.
    #[arg(long = "nats-ca", value_name = "FILE", requires = "engine")]
    pub authorities: Option<PathBuf>,
}

/// Reads an [`EngineUrl`] from a command line. What is none is not repeated, as clap does it, since a password may stand in it.
#[derive(Clone)]
struct Unrepeated;

impl TypedValueParser for Unrepeated {
    type Value = EngineUrl;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<EngineUrl, clap::Error> {
        let text = value.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
        text.and_then(str::parse).map_err(|why| {
            let of = argument.map_or_else(String::new, |argument| format!(" for '{argument}'"));
            clap::Error::raw(ErrorKind::ValueValidation, format!("invalid value{of}: {why}\n")).with_cmd(command)
        })
    }
}

/// The address of a NATS server, or of several of one cluster. Passwords are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EngineUrl(Vec<ServerAddr>);

impl FromStr for EngineUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |text: &str| {
            if !["nats://", "tls://"].iter().any(|scheme| text.starts_with(scheme)) {
                return Err("a NATS server is written nats://HOST, or tls://HOST".to_owned());
            }
            let address = text.parse::<ServerAddr>().map_err(|error| error.to_string())?;
            if address.host().is_empty() {
                return Err("the address of the NATS server has no host".to_owned());
            }
            let url = address.clone().into_inner();
            if !["", "/"].contains(&url.path()) || url.query().is_some() || url.fragment().is_some() {
                // Not what it is: it may be a part of a password.
                return Err("nothing follows the host and the port of a NATS server; in names and passwords @ is written %40, : is %3A, / is \
                            %2F, ? is %3F, # is %23 and % is %25"
                    .to_owned());
            }
            Ok(address)
        };
        Ok(Self(text.split(',').map(address).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, address) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            let (host, port) = (address.host(), address.port());
            // Of an IPv6 address without its brackets, the port would be a part.
            let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
            write!(f, "{comma}{}://{host}:{port}", address.scheme())?;
        }
        Ok(())
    }
}

impl fmt::Debug for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl EngineUrl {
    /// The user's name and password, where the address has one.
    fn user(&self) -> Option<(String, String)> {
        let address = self.0.iter().find(|address| address.has_user_pass())?;
        let plain = |text: Option<&str>| percent_decode_str(text.unwrap_or_default()).decode_utf8_lossy().into_owned();
        Some((plain(address.username()), plain(address.password())))
    }

    /// The address without them.
    fn servers(&self) -> Vec<ServerAddr> {
        let plain = |address: &ServerAddr| {
            let mut url = address.clone().into_inner();
            let (_, _) = (url.set_username(""), url.set_password(None));
            ServerAddr::from_url(url).unwrap_or_else(|_| address.clone())
        };
        self.0.iter().map(plain).collect()
    }
}

/// Why there is no connection that can be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// Nobody is there.
    #[error("no NATS server at {0} ({1}): start one (deploy/nats.sh does), or say with --engine where it is")]
    NoServer(EngineUrl, String),
    /// It does not know the user.
    #[error(
        "the NATS server at {0} does not let us in: the name and password in the URL, or the file of --nats-creds, are not those of one \
         of its users"
    )]
    User(EngineUrl),
    /// It has no TLS, or a certificate that is not trusted.
    #[error(
        "no encrypted connection to the NATS server at {0} ({1}): --nats-ca names the certificate of the authority that signed the server's; \
         a server without TLS is reached by nats://HOST, without --nats-ca"
    )]
    Tls(EngineUrl, String),
    /// A file of the options cannot be used.
    #[error("cannot use {1} of {0}: {2}")]
    File(&'static str, PathBuf, String),
    /// JetStream is not switched on.
    #[error(
        "the NATS server at {0} has no JetStream: start it with -js, or with \"jetstream {{}}\" in its configuration"
    )]
    NoJetStream(EngineUrl),
    /// It takes small messages only.
    #[error(
        "the NATS server at {0} takes messages of at most {1} bytes, where {SMALLEST_MESSAGE} are needed: set max_payload in its \
         configuration"
    )]
    SmallMessages(EngineUrl, usize),
    /// The user may not do what is needed.
    #[error("the NATS server at {0} forbids what is needed ({1}): deploy/nats.conf has the permissions of each user")]
    Forbidden(EngineUrl, String),
    /// It does something else than it is asked for.
    #[error("the NATS server at {0} does not do what it is asked for: {1}")]
    Other(EngineUrl, String),
    /// The system gives no threads.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Whether there is a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LinkState {
    pub(super) is_connected: bool,
    /// How many connections there were.
    pub(super) connections: u64,
}

/// A connection, and what comes after it if it is lost.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) url: EngineUrl,
    pub(super) client: Client,
    pub(super) jetstream: Context,
    pub(super) state: watch::Receiver<LinkState>,
    /// What the NATS server has forbidden last.
    forbidden: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// Connects. `name` is what the NATS server calls us. Answers come to subjects with `role` in them, so that a NATS server's users can
    /// be kept from reading each other's.
    pub(super) async fn connect(options: &NatsOptions, (role, name): (&str, &str)) -> Result<Self, NatsError> {
        let url = options.url.clone();
        let (tell, state) = watch::channel(LinkState::default());
        let forbidden = Arc::new(Mutex::new(None));
        let connect = connect_options(options, name).await?.custom_inbox_prefix(format!("_INBOX.{role}"));
        let seen = (forbidden.clone(), url.clone());
        let connect = connect.event_callback(move |event| {
            note(&event, &tell, &seen);
            async {}
        });
        let client = connect.connect(url.servers()).await.map_err(|error| {
            let reason = reason(&error);
            match error.kind() {
                ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                    NatsError::User(url.clone())
                }
                ConnectErrorKind::Tls => NatsError::Tls(url.clone(), reason),
                _ if is_of_tls(&reason) => NatsError::Tls(url.clone(), reason),
                _ => NatsError::NoServer(url.clone(), reason),
            }
        })?;
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(PATIENCE);
        let link = Self { url, client, jetstream, state, forbidden };
        link.check().await?;
        Ok(link)
    }

    /// Whether the server is one that will do.
    async fn check(&self) -> Result<(), NatsError> {
        const NO_JETSTREAM: [ErrorCode; 2] =
            [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT];
        let url = || self.url.clone();
        self.jetstream.query_account().await.map_err(|error| match error.kind() {
            AccountErrorKind::JetStreamUnavailable => NatsError::NoJetStream(url()),
            AccountErrorKind::JetStream(error) if NO_JETSTREAM.contains(&error.error_code()) => {
                NatsError::NoJetStream(url())
            }
            _ => self.failure(reason(&error)),
        })?;
        if self.client.max_payload() < SMALLEST_MESSAGE {
            return Err(NatsError::SmallMessages(url(), self.client.max_payload()));
        }
        Ok(())
    }

    /// What it is that failed: what is forbidden is not answered, but said elsewhere.
    pub(super) fn failure(&self, reason: String) -> NatsError {
        match self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            Some(what) => NatsError::Forbidden(self.url.clone(), what),
            None => NatsError::Other(self.url.clone(), reason),
        }
    }

    /// Before something is tried: what was forbidden until now is not why it fails.
    pub(super) fn begin(&self) {
        *self.forbidden.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether something was forbidden since then.
    pub(super) fn is_forbidden(&self) -> bool {
        self.forbidden.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The most bytes of a message.
    pub(super) fn message_limit(&self) -> usize {
        self.client.max_payload().saturating_sub(MESSAGE_HEAD)
    }

    /// Makes streams and bucket, where they are not there or are different.
    pub(super) async fn make_streams(&self) -> Result<(), NatsError> {
        self.begin();
        for stream in names::streams() {
            self.jetstream.create_or_update_stream(stream).await.map_err(|error| self.failure(reason(&error)))?;
        }
        match self.jetstream.get_object_store(names::KEY_BUCKET).await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => {
                let made = self.jetstream.create_object_store(names::bucket()).await;
                made.map(drop).map_err(|error| self.failure(reason(&error)))
            }
            Err(error) => Err(self.failure(reason(&error))),
        }
    }

    /// The bucket of keys, if there is one.
    pub(super) async fn bucket(&self) -> Result<ObjectStore, ObjectStoreError> {
        self.jetstream.get_object_store(names::KEY_BUCKET).await
    }
}

/// Whether a bucket is not there.
fn is_missing(error: &ObjectStoreError) -> bool {
    use async_nats::jetstream::context::{GetStreamError, GetStreamErrorKind};
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<GetStreamError>());
    error.kind() == ObjectStoreErrorKind::GetStore
        && source.is_some_and(|source| match source.kind() {
            GetStreamErrorKind::JetStream(error) => error.error_code() == ErrorCode::STREAM_NOT_FOUND,
            _ => false,
        })
}

async fn connect_options(options: &NatsOptions, name: &str) -> Result<ConnectOptions, NatsError> {
    let mut connect = ConnectOptions::new().name(name).connection_timeout(PATIENCE).request_timeout(Some(PATIENCE));
    connect = connect.max_reconnects(None).reconnect_delay_callback(|attempts| {
        let doubled = Duration::from_millis(50).saturating_mul(1 << attempts.saturating_sub(1).min(10));
        if attempts <= 1 { Duration::ZERO } else { doubled.min(LONGEST_PAUSE) }
    });
    if let Some((name, password)) = options.url.user() {
        connect = connect.user_and_password(name, password);
    }
    if let Some(file) = &options.credentials {
        let failed = |error: std::io::Error| NatsError::File("--nats-creds", file.clone(), error.to_string());
        connect = connect.credentials_file(file).await.map_err(failed)?;
    }
    if let Some(file) = &options.authorities {
        let failed = |reason| NatsError::File("--nats-ca", file.clone(), reason);
        let text = tokio::fs::read_to_string(file).await.map_err(|error| failed(error.to_string()))?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            return Err(failed("it has no certificate in PEM".to_owned()));
        }
        connect = connect.add_root_certificates(file.clone()).require_tls(true);
    }
    Ok(connect)
}

/// What an event of the connection says.
fn note(event: &Event, tell: &watch::Sender<LinkState>, (forbidden, url): &(Arc<Mutex<Option<String>>>, EngineUrl)) {
    match event {
        Event::Connected => {
            tell.send_modify(|state| *state = LinkState { is_connected: true, connections: state.connections + 1 });
            tracing::info!("connected to the NATS server at {url}");
        }
        Event::Disconnected => {
            tell.send_modify(|state| state.is_connected = false);
            tracing::warn!("the NATS server at {url} cannot be reached: trying again until it can");
        }
        Event::ServerError(ServerError::AuthorizationViolation) => {
            tracing::warn!("the NATS server at {url} does not let us in any more");
        }
        Event::ServerError(ServerError::Other(line)) => {
            if line.to_lowercase().contains("permissions violation") {
                *forbidden.lock().unwrap_or_else(PoisonError::into_inner) = Some(line.clone());
            }
            tracing::warn!("the NATS server says: {line}");
        }
        Event::SlowConsumer(_) => tracing::warn!("messages come faster than they are read: some are lost"),
        Event::LameDuckMode => tracing::info!("the NATS server is about to end"),
        // Attempts that failed, of which Disconnected has told, and our own end.
        Event::ClientError(_) | Event::Draining | Event::Closed | Event::ServerError(_) => {}
    }
}

/// Whether it is TLS that failed, where async-nats calls it something else.
fn is_of_tls(reason: &str) -> bool {
    ["certificate", "tls", "TLS", "handshake", "InvalidContentType"].iter().any(|word| reason.contains(word))
}

/// What is at the bottom of an error, in one line.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut bottom = error;
    while let Some(source) = bottom.source() {
        bottom = source;
    }
    bottom.to_string().replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_used_and_not_shown() {
        let url: EngineUrl = "tls://worker:a%40b%3A@host,nats://other:5222".parse().unwrap();
        assert_eq!(url.to_string(), "tls://host:4222,nats://other:5222");
        assert_eq!("nats://[::1]:5000".parse::<EngineUrl>().unwrap().to_string(), "nats://[::1]:5000");
        assert!(!format!("{url:?}").contains("a%40b"));
        assert_eq!(url.user(), Some(("worker".into(), "a@b:".into())));
        assert!(url.servers().iter().all(|address| !address.has_user_pass()));
    }

    #[test]
    fn a_password_in_what_is_no_url_is_not_repeated() {
        #[derive(Debug, clap::Parser)]
        struct Program {
            #[command(flatten)]
            nats: NatsOptions,
        }
        let parse = |url: &str| <Program as clap::Parser>::try_parse_from(["program", "--engine", url]);
        for url in ["tls://worker:sec/ret@host", "http://worker:secret@host", "nats://worker:secret@host,"] {
            let error = parse(url).unwrap_err();
            let said = error.to_string();
            assert_eq!((error.kind(), error.exit_code()), (ErrorKind::ValueValidation, 2));
            assert!(said.starts_with("error: invalid value for '--engine <URL>': "), "{said}");
            assert!(!said.contains("sec") && !said.contains("worker"), "{said}");
        }
        assert_eq!(parse("nats://host").unwrap().nats.url.to_string(), "nats://host:4222");
    }

    #[test]
    fn what_is_no_url_of_nats_is_refused() {
        for text in [
            "",
            "host",
            "http://host",
            "nats://",
            "nats://host,",
            "ws://host",
            "nats://host:99999",
            "nats://a/b",
            "tls://u:p@ss/w@host",
        ] {
            let error = text.parse::<EngineUrl>().unwrap_err();
            assert!(!error.contains('\n'), "{text}: {error}");
        }
    }
}
