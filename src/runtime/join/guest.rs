//! A rank other than 0: goes to where rank 0 listens, and then carries control messages both ways.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use super::super::control::write_all;
use super::line::{Forwarded, Forwarding, Line};
use crate::wire::control::{
    Arrival, Decoder, FromMeeting, FromRank, Secret, ToMeeting, ToRank, Welcome, encode,
};
use crate::wire::noise::Session;

const PAUSE: Duration = Duration::from_millis(100);
const CONNECT: Duration = Duration::from_secs(2);
const HANDSHAKE: Duration = Duration::from_secs(2);
const MEETING: Token = Token(0);
const RANK: Token = Token(1);

/// What a rank has once it has joined: its part, and the stream that a launched rank would inherit.
pub(super) struct Joined {
    pub(super) welcome: Welcome,
    pub(super) stream: std::os::unix::net::UnixStream,
    pub(super) forwarded: Arc<Forwarded>,
}

/// Arrives at one of the addresses that `places` resolves to, and waits for all others.
pub(super) fn join(
    places: &[String],
    secret: &Secret,
    arrival: &Arrival,
    limit: Duration,
) -> Result<Joined, String> {
    let mut stream = reach_within(limit, places, secret).map_err(|why| {
        format!(
            "rank 0 has not been reached at {} within {} s: {why}; rank {} is on {} \
             (PHALANX_RENDEZVOUS_TIMEOUT gives it more time, in seconds)",
            places.join(", "),
            limit.as_secs_f64(),
            arrival.rank,
            arrival.host
        )
    })?;
    let failed = |why: String| {
        format!(
            "rank 0 at {} did not let this rank in: {why}",
            places.join(", ")
        )
    };
    let bytes = encode(&ToMeeting::Arrive(arrival.clone())).map_err(|error| error.to_string())?;
    let sealed = stream
        .session
        .seal(&bytes)
        .map_err(|error| failed(error.to_string()))?;
    stream
        .tcp
        .write_all(&sealed)
        .map_err(|error| failed(error.to_string()))?;
    // Rank 0 decides by its own clock, which may have started later.
    let patience = limit + limit + CONNECT;
    let welcome = match first_message(&mut stream, patience).map_err(failed)? {
        FromMeeting::Tell(ToRank::Welcome(welcome)) => *welcome,
        FromMeeting::Refused { reason } => return Err(reason),
        _ => return Err(failed("it said something else first".into())),
    };
    let failed = |error: io::Error| format!("cannot keep the connection to rank 0: {error}");
    let (mine, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    theirs.set_nonblocking(true).map_err(failed)?;
    let forwarded = Arc::new(Forwarded::default());
    let carrier = Carrier {
        line: Line::new(stream.tcp, stream.session, stream.decoder).map_err(failed)?,
        rank: Some(UnixStream::from_std(theirs)),
        spoken: Decoder::default(),
        taken: 0,
        forwarding: Forwarding(Arc::clone(&forwarded)),
        if_lost: (72, None),
        over: false,
    };
    let poll = Poll::new().map_err(failed)?;
    let thread = std::thread::Builder::new().name("phalanx-control".into());
    thread.spawn(move || carrier.run(poll)).map_err(failed)?;
    Ok(Joined {
        welcome,
        stream: mine,
        forwarded,
    })
}

struct Opened {
    tcp: TcpStream,
    session: Session,
    decoder: Decoder,
}

/// Tries again and again. The reason is that of the last attempt at which somebody was there.
fn reach_within(limit: Duration, places: &[String], secret: &Secret) -> Result<Opened, String> {
    let started = Instant::now();
    let mut met = None;
    loop {
        let why = match reach(places, secret) {
            Ok(opened) => return Ok(opened),
            Err(Missed::Nobody(why)) => met.clone().unwrap_or(why),
            Err(Missed::Stranger(why)) => met.insert(why).clone(),
        };
        if started.elapsed() >= limit {
            return Err(why);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Why rank 0 was not reached.
enum Missed {
    /// Nothing listens there.
    Nobody(String),
    /// Something does, but it does not prove that it is rank 0.
    Stranger(String),
}

/// One attempt: names are resolved again each time.
fn reach(places: &[String], secret: &Secret) -> Result<Opened, Missed> {
    let mut missed = Missed::Nobody("no address".into());
    for place in places {
        let addresses = match place.to_socket_addrs() {
            Ok(addresses) => addresses,
            Err(error) => {
                missed = Missed::Nobody(format!("the name {place} does not resolve: {error}"));
                continue;
            }
        };
        for address in addresses {
            let connected = TcpStream::connect_timeout(&address, CONNECT);
            let opened = match connected {
                Ok(tcp) => open(tcp, secret),
                Err(error) => {
                    missed = Missed::Nobody(format!("{address}: {error}"));
                    continue;
                }
            };
            match opened {
                Ok(opened) => return Ok(opened),
                Err(why) => missed = Missed::Stranger(format!("{address}: {why}")),
            }
        }
    }
    Err(missed)
}

/// Both sides prove to each other that they know the secret.
fn open(mut tcp: TcpStream, secret: &Secret) -> Result<Opened, String> {
    let text = |error: io::Error| {
        format!("it is not rank 0 of this job, or was given another secret: {error}")
    };
    tcp.set_nodelay(true).map_err(text)?;
    tcp.set_read_timeout(Some(HANDSHAKE)).map_err(text)?;
    let (mut session, hello) = Session::initiator(secret).map_err(|error| error.to_string())?;
    tcp.write_all(&hello).map_err(text)?;
    let mut decoder = Decoder::default();
    let mut bytes = [0; 1024];
    let until = Instant::now() + HANDSHAKE;
    while !session.is_open() {
        let read = tcp.read(&mut bytes).map_err(text)?;
        if read == 0 || Instant::now() > until {
            return Err(
                "it is not rank 0 of this job, or was given another secret: the connection was \
                 closed during the handshake"
                    .into(),
            );
        }
        let received = session
            .receive(&bytes[..read])
            .map_err(|error| error.to_string())?;
        decoder.extend(&received.plain);
    }
    Ok(Opened {
        tcp,
        session,
        decoder,
    })
}

fn first_message(opened: &mut Opened, patience: Duration) -> Result<FromMeeting, String> {
    opened
        .tcp
        .set_read_timeout(Some(patience))
        .map_err(|error| error.to_string())?;
    let mut bytes = [0; 4096];
    loop {
        let next = opened.decoder.next::<FromMeeting>();
        if let Some(message) = next.map_err(|error| error.to_string())? {
            return Ok(message);
        }
        match opened.tcp.read(&mut bytes) {
            Ok(0) => return Err("it closed the connection while ranks were still arriving".into()),
            Ok(read) => {
                let received = opened.session.receive(&bytes[..read]);
                let received = received.map_err(|error| error.to_string())?;
                opened.decoder.extend(&received.plain);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Reads all that a rank has said; an end is one that was noticed.
pub(super) fn read_rank(stream: &mut UnixStream, spoken: &mut Decoder, taken: &mut u64) -> bool {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(read) => {
                *taken += read as u64;
                spoken.extend(&bytes[..read]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Tells a rank something; it always reads, so waiting for it is short.
pub(super) fn tell_rank(stream: &mut UnixStream, message: &ToRank) {
    let Ok(bytes) = encode(message) else { return };
    write_all(stream, &bytes);
}

struct Carrier {
    line: Line,
    rank: Option<UnixStream>,
    spoken: Decoder,
    taken: u64,
    forwarding: Forwarding,
    if_lost: (u8, Option<String>),
    over: bool,
}

impl Carrier {
    fn run(mut self, mut poll: Poll) {
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = poll.registry();
        let registered = registry
            .register(&mut self.line.stream, MEETING, both)
            .and_then(|()| match &mut self.rank {
                Some(rank) => registry.register(rank, RANK, Interest::READABLE),
                None => Ok(()),
            });
        let mut events = Events::with_capacity(8);
        let mut lost = registered.err().map(|error| error.to_string());
        while lost.is_none() {
            lost = self.turn().err();
            if self.over {
                return;
            }
            if lost.is_none() {
                if let Err(error) = poll.poll(&mut events, None) {
                    lost = (error.kind() != io::ErrorKind::Interrupted).then(|| error.to_string());
                }
            }
        }
        let (code, line) = self.if_lost;
        if let Some(line) = line {
            eprintln!("phalanx: {line}");
        }
        std::process::exit(code.into());
    }

    fn turn(&mut self) -> Result<(), String> {
        let open = self.line.receive();
        while let Some(message) = self
            .line
            .decoder
            .next()
            .map_err(|error| error.to_string())?
        {
            match message {
                FromMeeting::Tell(message) => {
                    if let Some(rank) = &mut self.rank {
                        tell_rank(rank, &message);
                    }
                }
                FromMeeting::IfLost { code, line } => self.if_lost = (code, line),
                FromMeeting::End { code } => std::process::exit(code.into()),
                FromMeeting::Over => {
                    self.over = true;
                    return Ok(());
                }
                FromMeeting::Refused { .. } => {}
            }
        }
        open?;
        let Some(rank) = &mut self.rank else {
            return self.line.flush();
        };
        let open = read_rank(rank, &mut self.spoken, &mut self.taken);
        while let Ok(Some(message)) = self.spoken.next::<FromRank>() {
            self.line.send(&ToMeeting::Say(message))?;
        }
        if !open {
            self.rank = None;
        }
        self.line.flush()?;
        if self.line.is_flushed() && !self.spoken.is_inside_message() {
            self.forwarding.0.set(self.taken);
        }
        Ok(())
    }
}
