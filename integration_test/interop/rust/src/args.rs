//! The command line, and the frame of a run: its deadline and its output.

use crate::peer::Peer;
use crate::transport::{Config, Transport};
use crate::{cases, identity, report, vectors};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// After this long, whatever is waited for counts as missing.
const PATIENCE: Duration = Duration::from_millis(9_300);
/// And after this long the program ends, even if its stack hangs.
const LIFE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Dial,
    Listen,
}

struct Options {
    role: Role,
    case: String,
    address: SocketAddr,
    certificate: PathBuf,
    key: PathBuf,
    peer_id: [u8; 32],
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let (mut role, mut case, mut address, mut certificate, mut key, mut peer_id) = (None, None, None, None, None, None);
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| format!("{name} has no value"))?;
        let bad = || format!("{name} cannot be {value}");
        match name.as_str() {
            "--role" if value == "dial" => role = Some(Role::Dial),
            "--role" if value == "listen" => role = Some(Role::Listen),
            "--case" if cases::known(&value) => case = Some(value),
            "--address" => address = Some(value.parse().map_err(|_| bad())?),
            "--cert" => certificate = Some(PathBuf::from(value)),
            "--key" => key = Some(PathBuf::from(value)),
            "--peer-id" => peer_id = Some(identity::parse(&value).ok_or_else(bad)?),
            _ => return Err(bad()),
        }
    }
    let options = Options {
        role: role.ok_or("--role is missing")?,
        case: case.ok_or("--case is missing")?,
        address: address.ok_or("--address is missing")?,
        certificate: certificate.ok_or("--cert is missing")?,
        key: key.ok_or("--key is missing")?,
        peer_id: peer_id.ok_or("--peer-id is missing")?,
    };
    if options.role == Role::Listen && cases::dial_only(&options.case) {
        return Err(format!("the case {} is for the role dial only", options.case));
    }
    Ok(options)
}

static WAITING: Mutex<String> = Mutex::new(String::new());

/// Notes what is waited for, for the watchdog.
pub(crate) fn waiting_for(what: &str) {
    if let Ok(mut waiting) = WAITING.lock() {
        *waiting = what.into();
    }
}

/// The whole program.
pub fn main<T: Transport>() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--version"] => {
            println!(r#"{{"stack":"{}","version":"{}","language":"Rust"}}"#, T::STACK, T::VERSION);
            ExitCode::SUCCESS
        }
        ["vectors", frames, datagrams] => run_vectors(frames, datagrams),
        _ => match parse(args.into_iter()) {
            Ok(options) => run_case::<T>(&options),
            Err(why) => {
                eprintln!("{why}");
                ExitCode::from(2)
            }
        },
    }
}

fn run_vectors(frames: &str, datagrams: &str) -> ExitCode {
    let read = |path: &str| std::fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let result = read(frames).and_then(|f| vectors::run(&f, &read(datagrams)?));
    match result {
        Ok(tried) => {
            println!(r#"{{"ok":true,"tried":{tried}}}"#);
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!(r#"{{"ok":false,"why":{}}}"#, report::quote(&why));
            ExitCode::from(1)
        }
    }
}

fn run_case<T: Transport>(options: &Options) -> ExitCode {
    if let Some(why) = T::impossible(options.role, &options.case) {
        println!("{}", report::impossible(&options.case, why));
        return ExitCode::from(3);
    }
    let begin = Instant::now();
    let case = options.case.clone();
    std::thread::spawn(move || {
        std::thread::sleep(LIFE);
        let what = WAITING.lock().map(|w| w.clone()).unwrap_or_default();
        println!("{}", report::failed(&case, &format!("the stack hung; waited for {what}")));
        std::process::exit(1);
    });
    match play::<T>(options, begin + PATIENCE) {
        Ok(sessions) => {
            println!("{}", report::passed(&options.case, &sessions));
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("{}", report::failed(&options.case, &why));
            ExitCode::from(1)
        }
    }
}

fn play<T: Transport>(options: &Options, deadline: Instant) -> Result<Vec<report::SessionReport>, String> {
    let identity = (options.certificate.clone(), options.key.clone());
    let loopback: SocketAddr =
        if options.address.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { "[::1]:0".parse().expect("an address") };
    let config = Config::new(
        if options.role == Role::Listen { options.address } else { loopback },
        (!cases::anonymous(&options.case)).then_some(identity),
        options.case != "no-datagrams",
        options.peer_id,
    );
    waiting_for("the socket");
    let transport = T::bind(&config)?;
    if options.role == Role::Listen {
        println!("listening {}", transport.address());
    }
    let mut peer = Peer::new(transport, config, deadline);
    let target = (options.role == Role::Dial).then_some(options.address);
    let result = cases::run(&mut peer, &options.case, target);
    if let Err(why) = &result {
        peer.abandon(why);
    }
    waiting_for("the stack to end");
    peer.transport.shutdown(Instant::now() + Duration::from_millis(500));
    result
}
