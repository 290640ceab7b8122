//! How a process or a thread becomes a rank.

mod coordinator;
mod guest;
mod host;
mod line;
mod meet;
mod patience;
mod pmi;
mod secret;
mod way;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

pub(crate) use self::line::Forwarded;
use self::patience::patience;
use self::way::Way;
use super::buffers::Exposures;
use super::control::Control;
use super::progress::Core;
use super::record::Record;
use super::state::State;
use super::wait::Station;
use super::{Identity, Ledger, Reporter, Runtime};
use crate::base::ids::{Epoch, Peer};
use crate::config::Config;
use crate::engine::{Engine, EngineConfig, Route};
use crate::limits;
use crate::sys::descriptor::{inherit_any, inherit_socket};
use crate::transport::{
    Fabric, Faults, LongMessages, Segment, SharedConfig, SocketsConfig, Waiter, interfaces, usable,
};
use crate::wire::control::{
    CONTROL_FD_VARIABLE, Decoder, FromRank, NodeMap, PROTOCOL, ToRank, TransportChoice, Welcome,
};

/// Joins the job that this process was started for, or makes a job of one rank.
///
/// # Errors
///
/// One line that says why this process cannot take part, and what to do.
pub(crate) fn process(config: &Config) -> Result<Arc<Runtime>, String> {
    match std::env::var(CONTROL_FD_VARIABLE) {
        Ok(number) => launched(config, &number),
        Err(_) => match way::find(&|name| std::env::var(name).ok())? {
            Way::Alone => alone(config),
            way => {
                let joined = meet::join(&way, config)?;
                check_welcome(&joined.welcome)?;
                let forwarded = Some(joined.forwarded);
                let decoder = Decoder::default();
                assemble_launched(config, joined.welcome, joined.stream, decoder, forwarded)
            }
        },
    }
}

/// Makes ranks of `n` threads of this process.
pub(crate) fn threads(
    n: usize,
    config: &Config,
    ledger: &Ledger,
) -> Result<Vec<Arc<Runtime>>, String> {
    let size = u32::try_from(n).ok().filter(|_| n <= limits::RANKS_MAX);
    let size = size.ok_or_else(|| format!("{n} ranks are more than {}", limits::RANKS_MAX))?;
    let fabrics =
        Fabric::threads(size).map_err(|error| format!("cannot connect threads: {error}"))?;
    let exposures = Exposures::new(n);
    let nodes = Arc::new(one_host(n));
    let route = Route {
        eager_bytes_max: limits::EAGER_THREADS_BYTES_MAX as u64,
        pull: true,
    };
    let ranks = fabrics
        .into_iter()
        .enumerate()
        .map(|(rank, (fabric, waiter))| {
            let identity = Identity {
                me: Peer(rank as u32),
                size,
                nodes: Arc::clone(&nodes),
                programs: Vec::new(),
                cores: None,
            };
            let engine = Engine::new(engine_config(&identity, Epoch(0), route));
            let state = State::new(identity.me, size, engine, exposures.of(rank));
            assemble(
                config,
                fabric,
                waiter,
                state,
                Speech::Ledger(ledger.clone()),
                identity,
            )
        });
    let ranks: Vec<Arc<Runtime>> = ranks.collect();
    let kin: Arc<[_]> = ranks
        .iter()
        .map(|rank| Arc::downgrade(&rank.station))
        .collect();
    for rank in &ranks {
        // It was made just now, without any.
        let _ = rank.station.kin.set(Arc::clone(&kin));
    }
    Ok(ranks)
}

fn launched(config: &Config, number: &str) -> Result<Arc<Runtime>, String> {
    let number: RawFd = number
        .parse()
        .map_err(|_| format!("{CONTROL_FD_VARIABLE}={number} is not a number"))?;
    let descriptor = inherit_socket(number).map_err(|error| {
        format!(
            "cannot reach the launcher: {error}. init() can be called once, in the process that \
             `phalanx run` started; a program started by a rank has to be started without \
             {CONTROL_FD_VARIABLE} in its environment"
        )
    })?;
    let mut stream = UnixStream::from(descriptor);
    let mut decoder = Decoder::default();
    let welcome = read_welcome(&mut stream, &mut decoder)?;
    check_welcome(&welcome)?;
    assemble_launched(config, welcome, stream, decoder, None)
}

/// Makes the rank that somebody has welcomed.
fn assemble_launched(
    config: &Config,
    welcome: Welcome,
    stream: UnixStream,
    decoder: Decoder,
    forwarded: Option<Arc<Forwarded>>,
) -> Result<Arc<Runtime>, String> {
    let mut control = Control::new(stream.into(), decoder, forwarded)
        .map_err(|error| format!("cannot use the connection to the launcher: {error}"))?;
    let identity = Identity {
        me: Peer(welcome.rank),
        size: welcome.size,
        nodes: Arc::new(welcome.nodes.clone()),
        programs: welcome.programs.clone(),
        cores: welcome.cores,
    };
    let (mut fabric, waiter) = match welcome.shared {
        Some(number) => memory_fabric(number, &welcome, config)?,
        None => Fabric::sockets(sockets_config(&welcome, config)?)
            .map_err(|error| format!("cannot listen for other ranks: {error}"))?,
    };
    fabric
        .attach_control(&mut control.stream)
        .map_err(|error| format!("cannot watch the connection to the launcher: {error}"))?;
    let addresses = fabric.addresses().iter().map(ToString::to_string).collect();
    let pid = std::process::id();
    control.reporter().say(&FromRank::Join {
        protocol: PROTOCOL,
        pid,
        addresses,
    });
    report_panics(control.reporter());
    let engine = engine(&identity, &welcome, fabric.pulls());
    let state = State::new(identity.me, identity.size, engine, Exposures::new(1).of(0));
    let record = Record::open(&welcome);
    let speech = Speech::Control(control);
    let runtime = assemble(config, fabric, waiter, state, speech, identity);
    runtime.station.lock().record = record;
    Ok(runtime)
}

fn alone(config: &Config) -> Result<Arc<Runtime>, String> {
    if let Some(threads) = config.threads.filter(|&threads| threads > 1) {
        return Err(format!(
            "PHALANX_THREADS={threads} asks for ranks as threads, but this program calls init(), \
             which makes the whole process one rank: use phalanx::run(|world| ...) instead, or \
             start it with `phalanx run -n {threads}`"
        ));
    }
    refuse_to_be_alone(|name| std::env::var(name).ok())?;
    let mut ranks = threads(1, config, &Ledger::default())?;
    ranks
        .pop()
        .ok_or_else(|| "cannot make a job of one rank".to_owned())
}

/// A process that some other launcher started as one of several must not believe that it is alone.
fn refuse_to_be_alone(variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
    const LAUNCHERS: [(&str, &str, &str); 4] = [
        ("SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "srun"),
        ("PMI_RANK", "PMI_SIZE", "an MPI launcher"),
        (
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
            "Open MPI's mpirun",
        ),
        ("RANK", "WORLD_SIZE", "torchrun or the like"),
    ];
    for (marker, size, launcher) in LAUNCHERS {
        let ranks: u64 = variable(size)
            .and_then(|text| text.parse().ok())
            .unwrap_or(1);
        if variable(marker).is_some() && ranks > 1 {
            let instead = match launcher {
                "srun" => "`srun --mpi=pmi2`, or",
                "an MPI launcher" | "Open MPI's mpirun" => "MPICH's `mpiexec`, or",
                _ => "MASTER_ADDR and MASTER_PORT in the environment, or",
            };
            return Err(format!(
                "this process seems to be one of {ranks} that {launcher} started ({size}={ranks}), but it \
                 was not told how to find the others, so every one of them would be rank 0 of 1: start \
                 it with {instead} `phalanx run -n {ranks} PROGRAM`, or unset {marker} to run it alone"
            ));
        }
    }
    Ok(())
}

fn read_welcome(stream: &mut UnixStream, decoder: &mut Decoder) -> Result<Welcome, String> {
    let failed = |why: String| format!("the launcher did not say who this rank is: {why}");
    stream
        .set_nonblocking(false)
        .map_err(|error| failed(error.to_string()))?;
    let mut bytes = [0; 4096];
    loop {
        match decoder.next() {
            Ok(Some(ToRank::Welcome(welcome))) => return Ok(*welcome),
            Ok(Some(_)) => return Err(failed("it sent something else first".into())),
            Ok(None) => {}
            Err(error) => return Err(failed(error.to_string())),
        }
        match stream.read(&mut bytes) {
            Ok(0) => return Err(failed("it closed the connection".into())),
            Ok(read) => decoder.extend(&bytes[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error.to_string())),
        }
    }
}

fn check_welcome(welcome: &Welcome) -> Result<(), String> {
    if welcome.protocol != PROTOCOL {
        return Err(format!(
            "the launcher speaks protocol {}, this program was built with protocol {PROTOCOL}: \
             build both from the same version of phalanx",
            welcome.protocol
        ));
    }
    let size = welcome.size as usize;
    let nodes = &welcome.nodes;
    let sound = welcome.rank < welcome.size
        && size <= limits::RANKS_MAX
        && nodes.node_of.len() == size
        && nodes
            .node_of
            .iter()
            .all(|&node| (node as usize) < nodes.hosts.len());
    if sound {
        Ok(())
    } else {
        Err("the launcher's description of the job makes no sense".into())
    }
}

/// Where the ranks of this host share memory: alone, or beside sockets to those of other hosts.
fn memory_fabric(
    number: RawFd,
    welcome: &Welcome,
    config: &Config,
) -> Result<(Fabric, Waiter), String> {
    let failed = |error: String| format!("cannot use the memory that the ranks share: {error}");
    let descriptor = inherit_any(number).map_err(|error| failed(error.to_string()))?;
    let segment = Segment::attach(descriptor).map_err(|error| failed(error.to_string()))?;
    let long = match config.single_copy {
        Some(false) => LongMessages::Streamed,
        None if segment.streams() => LongMessages::AsItSuits,
        Some(true) | None => LongMessages::Pulled,
    };
    let node_of = &welcome.nodes.node_of;
    let mine = node_of[welcome.rank as usize];
    let ranks = (0..).map(Peer).zip(node_of);
    let here = ranks
        .filter(|(_, node)| **node == mine)
        .map(|(rank, _)| rank);
    let shared = SharedConfig {
        segment: Arc::new(segment),
        epoch: Epoch(welcome.epoch),
        rank: Peer(welcome.rank),
        size: welcome.size,
        here: here.collect(),
        long,
    };
    if node_of.iter().all(|node| *node == mine) {
        return Fabric::shared(shared).map_err(|error| failed(error.to_string()));
    }
    let sockets = SocketsConfig {
        route: Box::new(|_| crate::transport::Route::Tcp),
        ..sockets_config(welcome, config)?
    };
    Fabric::mixed(shared, sockets)
        .map_err(|error| format!("cannot reach the ranks of this and other hosts: {error}"))
}

/// Where to listen for TCP: nowhere near another host when the job has only one.
fn listen_at(one_host: bool, config: &Config) -> Result<Vec<IpAddr>, String> {
    if one_host && config.interface.is_none() {
        return Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    }
    let all = interfaces().map_err(|error| format!("cannot list the interfaces: {error}"))?;
    usable(&all, config.interface.as_deref())
}

fn sockets_config(welcome: &Welcome, config: &Config) -> Result<SocketsConfig, String> {
    let node_of = welcome.nodes.node_of.clone();
    let (me, transport) = (welcome.rank as usize, welcome.transport);
    let one_host = node_of.iter().all(|node| *node == node_of[me]);
    let route = move |peer: Peer| match transport {
        TransportChoice::Tcp => crate::transport::Route::Tcp,
        TransportChoice::Unix | TransportChoice::Shm => crate::transport::Route::Unix,
        TransportChoice::Auto if node_of[peer.index()] == node_of[me] => {
            crate::transport::Route::Unix
        }
        TransportChoice::Auto => crate::transport::Route::Tcp,
    };
    let tcp = transport == TransportChoice::Tcp || !one_host;
    Ok(SocketsConfig {
        job: welcome.job,
        secret: welcome.secret.clone(),
        epoch: Epoch(welcome.epoch),
        rank: Peer(welcome.rank),
        size: welcome.size,
        route: Box::new(route),
        listen: if tcp {
            listen_at(one_host, config)?
        } else {
            Vec::new()
        },
        ports: config.ports,
        encrypt: config.encrypt,
        start_limit: None,
        reconnect: config
            .reconnect
            .unwrap_or(std::time::Duration::from_millis(limits::RECONNECT_MILLIS)),
        faults: config.reset_every.map(|pause| Faults {
            seed: u64::from(welcome.rank),
            reset_every: Some(pause),
            ..Faults::default()
        }),
    })
}

/// The engine, which is told how each peer is reached.
fn engine(identity: &Identity, welcome: &Welcome, pulls: bool) -> Engine {
    let far = Route {
        eager_bytes_max: limits::EAGER_BYTES_MAX as u64,
        pull: false,
    };
    let near = match welcome.shared {
        Some(_) if pulls => Route {
            eager_bytes_max: limits::EAGER_SHARED_BYTES_MAX as u64,
            pull: true,
        },
        _ => far,
    };
    let node_of = &welcome.nodes.node_of;
    let mine = node_of[identity.me.index()];
    let one_host = node_of.iter().all(|node| *node == mine);
    let most = if one_host { near } else { far };
    let mut engine = Engine::new(engine_config(identity, Epoch(welcome.epoch), most));
    if near != most {
        let ranks = (0..).map(Peer).zip(node_of);
        for (peer, _) in ranks.filter(|(_, node)| **node == mine) {
            engine.set_route(peer, near);
        }
    }
    let own = Route { pull: true, ..near };
    engine.set_route(identity.me, own);
    engine
}

fn engine_config(identity: &Identity, epoch: Epoch, route: Route) -> EngineConfig {
    EngineConfig {
        me: identity.me,
        size: identity.size,
        epoch,
        route,
        unexpected_bytes_max: limits::UNEXPECTED_BYTES_MAX as u64,
    }
}

/// Whom a rank tells of itself.
enum Speech {
    Control(Control),
    Ledger(Ledger),
}

fn assemble(
    config: &Config,
    fabric: Fabric,
    waiter: Waiter,
    state: State,
    speech: Speech,
    identity: Identity,
) -> Arc<Runtime> {
    let (control, ledger) = match speech {
        Speech::Control(control) => (Some(control), None),
        Speech::Ledger(ledger) => (None, Some(ledger)),
    };
    let reporter = control.as_ref().map(Control::reporter);
    let patience = patience(config, &identity);
    let waker = fabric.waker();
    let mut core = Core::new(fabric, state, control);
    core.strict = config.check;
    Runtime::new(
        Station::new(core, waiter, waker, patience),
        identity,
        reporter,
        ledger,
    )
}

fn one_host(ranks: usize) -> NodeMap {
    let name = hostname::get().map_or_else(
        |_| "localhost".into(),
        |name| name.to_string_lossy().into_owned(),
    );
    NodeMap {
        hosts: vec![name],
        node_of: vec![0; ranks],
    }
}

/// Tells the launcher of panics, so that it can name the first one; the usual message still appears.
fn report_panics(reporter: Reporter) {
    let previous = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let message = panic_message(info.payload()).replace('\n', " ");
        let location = info
            .location()
            .map_or_else(String::new, ToString::to_string);
        reporter.say(&FromRank::Panicked { message, location });
        previous(info);
    }));
}

/// The message of a panic.
pub(crate) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_processes_does_not_believe_that_it_is_alone() {
        let started_by = |set: &'static [(&str, &str)]| {
            refuse_to_be_alone(move |asked| {
                set.iter()
                    .find(|(name, _)| *name == asked)
                    .map(|(_, value)| (*value).to_owned())
            })
        };
        assert!(started_by(&[]).is_ok());
        assert!(
            started_by(&[("SLURM_JOB_ID", "7")]).is_ok(),
            "an allocation alone is no task"
        );
        assert!(started_by(&[("PMI_RANK", "0"), ("PMI_SIZE", "1")]).is_ok());
        let error = started_by(&[("PMI_RANK", "0"), ("PMI_SIZE", "4")]).expect_err("one of four");
        assert!(error.contains("phalanx run -n 4"), "{error}");
    }
}
