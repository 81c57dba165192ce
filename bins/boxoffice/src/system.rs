//! Starting everything in order, saying so, and stopping it in the opposite order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use events::Source;
use service::http::edge;
use service::{Clock, Service, Settings, Shutdown, ShutdownTrigger, StartError, Started, health_router};
use stripe_fake::StripeFake;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::cli::Cli;
use crate::control::{self, ControlSocket};
use crate::data_dir::{DataDir, DataDirError};
use crate::demo;
use crate::dispatch::Dispatch;
use crate::redis_server::{RedisServer, RedisServerError};
use crate::watch;

/// Why Boxoffice does not start, in a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(
        "{address} can't be listened on: {cause}. Name another address with --listen (port 0 takes a free one)"
    )]
    Listen {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    #[error(transparent)]
    Redis(#[from] RedisServerError),
    #[error("the stand-in for Stripe: {0}")]
    Stripe(#[from] stripe_fake::OpenError),
    #[error(
        "STRIPE_STAND_IN is `refused`, and there is no account to take money for: set STRIPE_SECRET_KEY and \
         STRIPE_WEBHOOK_SECRET to those of your Stripe account"
    )]
    NoAccount,
    #[error(transparent)]
    Service(#[from] StartError),
    #[error("{0}")]
    Demo(#[from] demo::DemoError),
    #[error("PUBLIC_URL: {0}")]
    PublicUrl(#[from] web::PublicUrlError),
    #[error("the site's secret: {0}")]
    Secret(#[from] web::SecretError),
}

/// Starts everything, serves until `shutdown`, and stops everything.
///
/// # Errors
/// [`SystemError`] says why it does not start; what was started by then is stopped.
pub(crate) async fn run(cli: Cli, shutdown: Shutdown) -> Result<(), SystemError> {
    say(&format!(
        "Boxoffice {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        cli.data_dir.display()
    ));
    let data_dir = DataDir::lock(&cli.data_dir)?;
    let refused = |cause| SystemError::Listen {
        address: cli.listen,
        cause,
    };
    let listener = TcpListener::bind(cli.listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let redis = match &cli.redis_url {
        Some(_) => None,
        None => {
            let (folder, password) = (data_dir.join("redis"), data_dir.secret("redis-password")?);
            tokio::select! {
                started = RedisServer::start(&folder, &password) => Some(started?),
                () = shutdown.clone().wait() => return Ok(()),
            }
        }
    };
    let redis_url = match (&redis, &cli.redis_url) {
        (Some(server), _) => server.url(),
        (None, url) => url.clone().unwrap_or_default(),
    };
    progress(
        "redis",
        if redis.is_some() {
            "a private redis-server is running"
        } else {
            "the one of REDIS_URL"
        },
    );
    // The bus outlives the services: they relay what they have until the end. It stops when this sender is dropped.
    let (bus_needed, bus_not_needed) = oneshot::channel::<()>();
    let redis = redis.map(|server| {
        tokio::spawn(server.supervise(async {
            drop(bus_not_needed.await);
        }))
    });
    let served = serve(cli, shutdown, &data_dir, listener, address, redis_url).await;
    drop(bus_needed);
    if let Some(redis) = redis
        && let Err(error) = redis.await
    {
        tracing::error!(%error, "the supervisor of redis-server panicked");
    }
    if served.is_ok() {
        say("Stopped. Everything is kept in the data directory.");
    }
    served
}

async fn serve(
    mut cli: Cli,
    shutdown: Shutdown,
    data_dir: &DataDir,
    listener: TcpListener,
    address: SocketAddr,
    redis_url: String,
) -> Result<(), SystemError> {
    let public_url: web::PublicUrl = match cli.public_url.clone() {
        Some(url) => url,
        None => format!("http://{}", reachable(address)).parse()?,
    };
    let stripe = open_stripe(&mut cli, data_dir, &public_url, address)?;
    let settings = Settings {
        listen: address,
        redis_prefix: cli.redis_prefix.clone(),
        log_format: cli.log_format,
        ..Settings::new(data_dir.path(), redis_url, public_url.origin())
    };
    let (stop, shutdown) = also_when_told(shutdown);
    let services = start_services(&cli, &settings, &stop, &shutdown).await?;
    let control = serve_control(&services, data_dir, &shutdown);
    let watch = tokio::spawn(watch::run(watch::remotes(&services), shutdown.clone()));
    let router = route(
        &cli,
        &services,
        stripe.as_ref(),
        public_url.clone(),
        data_dir,
        &shutdown,
    )?;
    let stripe_task = stripe.map(|stripe| {
        let stop = shutdown.clone().wait();
        tokio::spawn(async move { stripe.run_background(stop).await })
    });
    let server = tokio::spawn(service::serve(listener, router.clone(), shutdown.clone()));
    let filled = if cli.demo { fill(router).await } else { Ok(()) };
    if filled.is_ok() {
        welcome(&public_url, cli.demo);
        say(&format!("listening on http://{address}"));
        if let Err(error) = server.await {
            tracing::error!(%error, "the server panicked");
        }
        say("Stopping.");
    } else {
        stop.begin();
        server.abort();
    }
    // The stand-in for Stripe goes on while requests are drained; its own loops have heard of the shutdown.
    if let Some(task) = stripe_task.filter(|_| filled.is_ok())
        && let Err(error) = task.await
    {
        tracing::error!(%error, "the stand-in for Stripe panicked");
    }
    for (part, task) in [("control socket", control), ("watch", Some(watch))] {
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, part, "a part of the system panicked");
        }
    }
    stop_all(services).await;
    filled
}

/// Lets operators' commands reach this system. One that they can't reach runs all the same, and says so.
fn serve_control(services: &[Started], data_dir: &DataDir, shutdown: &Shutdown) -> Option<JoinHandle<()>> {
    match ControlSocket::bind(data_dir.path()) {
        Ok(socket) => Some(tokio::spawn(
            socket.serve(control::routes(services), shutdown.clone()),
        )),
        Err(error) => {
            tracing::warn!(%error, "operators' commands can't reach this system");
            None
        }
    }
}

/// Stops the services side by side: each may have to wait for the same Redis that does not answer.
async fn stop_all(services: Vec<Started>) {
    let mut stopping: JoinSet<()> = services.into_iter().map(Started::stop).collect();
    while let Some(stopped) = stopping.join_next().await {
        if let Err(error) = stopped {
            tracing::error!(%error, "stopping a service panicked");
        }
    }
}

/// A shutdown that begins with `shutdown`, and also when this process itself finds that it can't go on.
fn also_when_told(shutdown: Shutdown) -> (Arc<ShutdownTrigger>, Shutdown) {
    let (trigger, either) = ShutdownTrigger::new();
    let trigger = Arc::new(trigger);
    let passed_on = Arc::clone(&trigger);
    tokio::spawn(async move {
        shutdown.wait().await;
        passed_on.begin();
    });
    (trigger, either)
}

/// The stand-in for Stripe, unless a real account is given; and the payments service's options to go with it.
fn open_stripe(
    cli: &mut Cli,
    data_dir: &DataDir,
    public_url: &web::PublicUrl,
    address: SocketAddr,
) -> Result<Option<StripeFake>, SystemError> {
    if !cli.payments.stripe_secret_key.is_empty() {
        progress("stripe", "the account of STRIPE_SECRET_KEY");
        return Ok(None);
    }
    if cli.payments.stripe_stand_in == payments::StandIn::Refused {
        return Err(SystemError::NoAccount);
    }
    let base = format!("http://{}", reachable(address));
    let stripe = StripeFake::open(stripe_fake::Config {
        data_dir: Some(data_dir.join("stripe-fake")),
        public_url: public_url.origin().to_owned(),
        webhook_url: Some(format!("{base}/api/payments/webhook")),
        faults_enabled: cli.stripe_faults,
        ..stripe_fake::Config::default()
    })?;
    cli.payments.stripe_secret_key = stripe_fake::SECRET_KEY_DEFAULT.to_owned();
    cli.payments.stripe_webhook_secret = vec![stripe_fake::WEBHOOK_SECRET_DEFAULT.to_owned()];
    cli.payments.stripe_api_base = Some(base);
    progress("stripe", "a stand-in: no real money moves");
    Ok(Some(stripe))
}

/// Starts the five services side by side. If one can't, the others are stopped again.
async fn start_services(
    cli: &Cli,
    settings: &Settings,
    stop: &ShutdownTrigger,
    shutdown: &Shutdown,
) -> Result<Vec<Started>, SystemError> {
    let (auth, tickets, orders, expiration, payments) = tokio::join!(
        start::<auth::App>(settings, cli.auth.clone(), shutdown),
        start::<tickets::App>(settings, tickets::Options {}, shutdown),
        start::<orders::App>(settings, cli.orders.clone(), shutdown),
        start::<expiration::App>(settings, expiration::Options {}, shutdown),
        start::<payments::App>(settings, cli.payments.clone(), shutdown),
    );
    let mut services = Vec::new();
    let mut failure = None;
    for started in [auth, tickets, orders, expiration, payments] {
        match started {
            Ok(started) => services.push(started),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match failure {
        None => Ok(services),
        Some(error) => {
            // Their own loops must hear of it, or each service is waited for until it is cut off.
            stop.begin();
            stop_all(services).await;
            Err(error.into())
        }
    }
}

async fn start<S: Service>(
    settings: &Settings,
    options: S::Options,
    shutdown: &Shutdown,
) -> Result<Started, StartError> {
    // On the heap: together they are too large to be moved around on the stack.
    let started = Box::pin(service::start::<S>(settings, options, shutdown.clone())).await?;
    progress(S::SOURCE.as_str(), "its store is open and checked");
    Ok(started)
}

fn route(
    cli: &Cli,
    services: &[Started],
    stripe: Option<&StripeFake>,
    public_url: web::PublicUrl,
    data_dir: &DataDir,
    shutdown: &Shutdown,
) -> Result<Router, SystemError> {
    let mut api = Router::new();
    for started in services {
        api = api.merge(started.api.clone());
    }
    let openapi = web::describe(services.iter().map(|started| started.openapi.clone()));
    let api = edge(api.route("/api/openapi.json", get(async move || axum::Json(openapi))));
    let mut upstream = web::Upstream::in_process(api.clone());
    for started in services {
        upstream = upstream.with_internal(as_upstream(started.source), started.internal.clone());
    }
    let mut settings = web::Settings::new(public_url, web::Clock::of_process(Clock::new()));
    settings.secret = data_dir.secret("web-secret")?.parse()?;
    if stripe.is_none() {
        settings.form_action = vec!["https://checkout.stripe.com".parse()?];
    }
    let demo_operator = cli.demo.then(|| demo::DEMO_EMAIL.to_owned());
    let settings = settings
        .with_operators(cli.operators.iter().cloned().chain(demo_operator))
        .with_shutdown(shutdown.clone());
    let dispatch = Dispatch {
        api,
        health: health_router(services.iter().map(|started| started.probe.clone()).collect()),
        stripe: stripe.map(StripeFake::router),
        site: web::router(settings, upstream),
    };
    Ok(dispatch.into_router())
}

/// What the site calls a service.
fn as_upstream(source: Source) -> web::Service {
    match source {
        Source::Auth => web::Service::Auth,
        Source::Tickets => web::Service::Tickets,
        Source::Orders => web::Service::Orders,
        Source::Expiration => web::Service::Expiration,
        Source::Payments => web::Service::Payments,
    }
}

async fn fill(router: Router) -> Result<(), SystemError> {
    let added = demo::fill(router, Clock::new().now()).await?;
    let what = if added == 0 {
        "all tickets are there".to_owned()
    } else {
        format!("{added} tickets were listed")
    };
    progress("demo", &what);
    Ok(())
}

/// Where this machine reaches what listens on `address`: "any" is reached on the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn welcome(public_url: &web::PublicUrl, demo: bool) {
    say("");
    say(&format!("  Open     {}", public_url.origin()));
    if demo {
        say(&format!(
            "  Sign in  {} with the password {}",
            demo::DEMO_EMAIL,
            demo::DEMO_PASSWORD
        ));
        say("  Pay      with the test card that the payment page has filled in");
    }
    say("  Stop     with ctrl-C; the next start finds everything again");
    say("");
}

fn progress(part: &str, what: &str) {
    say(&format!("  {part:<11} {what}"));
}

/// Tells whoever started this. Nobody need listen: a closed pipe is no failure.
fn say(line: &str) {
    service::print_line(line);
}
