//! TLS to Postgres, asked for in the URL the way libpq has it: `sslmode` and `sslrootcert`.
//!
//! The client library knows `disable`, `prefer` and `require`; what makes a connection trustworthy (`verify-ca`,
//! `verify-full`, a root certificate of one's own) is taken out of the URL here and done by the TLS library.

use native_tls::{Certificate, TlsConnector};
use postgres_native_tls::MakeTlsConnector;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

use super::postgres_session::refused;
use super::status::SinkError;

/// What is checked of a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// Nothing: the connection is only encrypted.
    Nothing,
    /// That a trusted authority has signed it.
    Authority,
    /// That, and that it was issued for this host.
    Host,
}

/// A URL taken apart.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// The URL without what the client library does not know.
    url: String,
    mode: SslMode,
    check: Check,
    root: Option<String>,
}

/// Splits a URL or a `key=value` text into the client library's part and ours.
fn split(url: &str) -> Result<Wanted, SinkError> {
    let (mut mode, mut root) = (None, None);
    let mut keep = |pair: &str| match pair.split_once('=') {
        Some(("sslmode", value)) => {
            mode = Some(value.to_owned());
            false
        }
        Some(("sslrootcert", value)) => {
            root = Some(value.replace("%2F", "/").replace("%2f", "/"));
            false
        }
        _ => true,
    };
    let rest = if url.contains("://") {
        match url.split_once('?') {
            None => url.to_owned(),
            Some((head, query)) => {
                let kept: Vec<_> = query.split('&').filter(|pair| keep(pair)).collect();
                if kept.is_empty() { head.to_owned() } else { format!("{head}?{}", kept.join("&")) }
            }
        }
    } else {
        url.split_whitespace().filter(|pair| keep(pair)).collect::<Vec<_>>().join(" ")
    };
    let (mode, check) = match mode.as_deref() {
        Some("disable") => (SslMode::Disable, Check::Nothing),
        None | Some("allow" | "prefer") => (SslMode::Prefer, Check::Nothing),
        // As libpq has it: a root certificate that is named is used.
        Some("require") if root.is_some() => (SslMode::Require, Check::Authority),
        Some("require") => (SslMode::Require, Check::Nothing),
        Some("verify-ca") => (SslMode::Require, Check::Authority),
        Some("verify-full") => (SslMode::Require, Check::Host),
        Some(other) => {
            return Err(refused("read postgres.url", format!("sslmode is {other:?}, not one of libpq's")));
        }
    };
    Ok(Wanted { url: rest, mode, check, root })
}

/// The settings of a connection and what encrypts it.
pub(super) fn configure(url: &str) -> Result<(Config, MakeTlsConnector), SinkError> {
    let Wanted { url, mode, check, root } = split(url)?;
    let mut config: Config = url
        .parse()
        .map_err(|error: tokio_postgres::Error| refused("read postgres.url", error.to_string()))?;
    config.ssl_mode(mode);
    let mut builder = TlsConnector::builder();
    builder
        .danger_accept_invalid_certs(check == Check::Nothing)
        .danger_accept_invalid_hostnames(check != Check::Host);
    if let Some(path) = root {
        let unusable = |why: String| refused("read sslrootcert", format!("{path}: {why}"));
        let pem = std::fs::read(&path).map_err(|error| unusable(error.to_string()))?;
        let certificates = Certificate::stack_from_pem(&pem).map_err(|error| unusable(error.to_string()))?;
        builder.disable_built_in_roots(true);
        for certificate in certificates {
            builder.add_root_certificate(certificate);
        }
    }
    let connector = builder.build().map_err(|error| refused("prepare TLS", error.to_string()))?;
    Ok((config, MakeTlsConnector::new(connector)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(url: &str) -> Wanted {
        split(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn the_url_says_what_is_checked() {
        for (text, mode, check) in [
            ("", SslMode::Prefer, Check::Nothing),
            ("?sslmode=disable", SslMode::Disable, Check::Nothing),
            ("?sslmode=require", SslMode::Require, Check::Nothing),
            ("?sslmode=require&sslrootcert=a.pem", SslMode::Require, Check::Authority),
            ("?sslmode=verify-ca", SslMode::Require, Check::Authority),
            ("?sslmode=verify-full", SslMode::Require, Check::Host),
        ] {
            let found = wanted(&format!("postgresql://me@host/base{text}"));
            assert_eq!((found.mode, found.check), (mode, check), "{text}");
            assert_eq!(found.url, "postgresql://me@host/base");
        }
    }

    #[test]
    fn what_is_not_ours_stays() {
        let found =
            wanted("postgresql://host/base?connect_timeout=3&sslmode=require&sslrootcert=%2Fa%2Fb.pem");
        assert_eq!(found.url, "postgresql://host/base?connect_timeout=3");
        assert_eq!(found.root.as_deref(), Some("/a/b.pem"));
        assert_eq!(wanted("host=h sslmode=verify-full user=u").url, "host=h user=u");
    }

    #[test]
    fn an_unknown_mode_or_certificate_is_named() {
        let unknown = split("postgresql://host/base?sslmode=maybe").unwrap_err().to_string();
        assert!(unknown.contains("\"maybe\""), "{unknown}");
        let missing = configure("postgresql://host/base?sslmode=verify-ca&sslrootcert=/no/such.pem");
        assert!(missing.is_err_and(|error| error.to_string().contains("/no/such.pem")));
    }
}
