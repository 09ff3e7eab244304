//! The server: a port, threads of its own, and an end in order.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server as Transport, ServerTlsConfig};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::call::Desk;
use super::callers::Callers;
use super::figures::Figures;
use super::service::{Front, Shared};
use super::settings::{GrpcSettings, TlsFiles};
use super::{SCORING_SERVICE, Scoring};

/// Calls beyond `calls_max` that one connection may have open: health, and what is turned away.
const CALLS_BESIDE: u32 = 64;
/// Room for requests that come before the earlier ones are read, of one call and of a connection.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_WAIT: Duration = Duration::from_secs(20);

/// Why there is no server.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address cannot be used.
    #[error("serve.host and serve.native_port: {address} cannot be used: {why}")]
    Address {
        /// `HOST:PORT`.
        address: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// There are no threads.
    #[error("the threads of the native transport cannot be started: {0}")]
    Threads(std::io::Error),
    /// Certificate or key are not usable.
    #[error("serve.tls_certificate and serve.tls_key cannot be used: {0}")]
    Tls(tonic::transport::Error),
}

struct Running {
    runtime: Runtime,
    ask_to_stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

/// See the module's text.
pub struct Server {
    address: SocketAddr,
    figures: Arc<Figures>,
    health: HealthReporter,
    running: Mutex<Option<Running>>,
}

impl Server {
    /// Listens from now on; health says `NOT_SERVING` until [`Self::say_ready`].
    pub fn open<S: Scoring>(
        settings: &GrpcSettings,
        callers: Option<Arc<Callers>>,
        scoring: Arc<S>,
    ) -> Result<Self, ServerError> {
        let (listener, address) = bound(&settings.host, settings.port)?;
        let threads = Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("grpc")
            .enable_all()
            .build();
        let runtime = threads.map_err(ServerError::Threads)?;
        let figures = Arc::new(Figures::default());
        let health = HealthReporter::new();
        let shared = Shared {
            scoring,
            callers,
            desk: Arc::new(Desk::new(settings, Arc::clone(&figures))),
            calls_max: settings.calls_max,
            rows_max: settings.rows_max,
            message_bytes_max: settings.message_bytes_max,
        };
        let answering = HealthServer::new(HealthService::from_health_reporter(health.clone()));
        let front = Front::new(shared, answering);
        let transport = transport(settings)?;
        let (ask_to_stop, asked) = oneshot::channel();
        let entered = runtime.enter();
        let incoming = tokio::net::TcpListener::from_std(listener).map_err(ServerError::Threads)?;
        let incoming = TcpIncoming::from(incoming).with_nodelay(Some(true));
        let until = async {
            let _ = asked.await;
        };
        let serving = runtime.spawn(transport.serve_with_incoming_shutdown(front, incoming, until));
        drop(entered);
        let running = Mutex::new(Some(Running { runtime, ask_to_stop, serving }));
        let server = Self { address, figures, health, running };
        server.say_ready(false);
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it counts.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Tells health whether calls are answered.
    pub fn say_ready(&self, ready: bool) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = &*running {
            let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
            running.runtime.block_on(async {
                self.health.set_service_status("", status).await;
                self.health.set_service_status(SCORING_SERVICE, status).await;
            });
        }
    }

    /// Takes no more calls, lets those under way end for so long, then cancels them.
    pub fn stop(&self, wait: Duration) {
        self.say_ready(false);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { runtime, ask_to_stop, serving }) = running else { return };
        let _ = ask_to_stop.send(());
        let ended = runtime.block_on(async { tokio::time::timeout(wait, serving).await });
        if let Ok(Ok(Err(error))) = ended {
            tracing::warn!(target: "grpc", "{error}");
        }
        runtime.shutdown_background();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}

fn bound(host: &str, port: u16) -> Result<(TcpListener, SocketAddr), ServerError> {
    let failed = |why| ServerError::Address { address: format!("{host}:{port}"), why };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found: Vec<SocketAddr> = (bare, port).to_socket_addrs().map_err(failed)?.collect();
    let listener = TcpListener::bind(&found[..]).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

fn transport(settings: &GrpcSettings) -> Result<Transport, ServerError> {
    let calls_max = u32::try_from(settings.calls_max).unwrap_or(u32::MAX);
    let plain = Transport::builder()
        .max_concurrent_streams(calls_max.saturating_add(CALLS_BESIDE))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_WAIT));
    let Some(TlsFiles { certificate, key, client_ca }) = &settings.tls else { return Ok(plain) };
    let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(certificate, key));
    if let Some(ca) = client_ca {
        tls = tls.client_ca_root(Certificate::from_pem(ca));
    }
    plain.tls_config(tls).map_err(ServerError::Tls)
}
