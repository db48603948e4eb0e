use std::net::SocketAddr;

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    Serve,
    Flood {
        server: SocketAddr,
        size: usize,
    },
    Ping {
        server: SocketAddr,
        size: usize,
        count: u64,
    },
}

const USAGE: &str = "usage: serve | flood ADDRESS SIZE | ping ADDRESS SIZE COUNT";

/// The longest message, in bytes; it keeps a slip of the finger from asking for all the memory.
const MAX_SIZE: usize = 1 << 24;

impl Task {
    /// Reads the arguments after the program's name. The error is one line for the user.
    pub fn parse(arguments: &[String]) -> Result<Task, String> {
        let fields: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match fields[..] {
            ["serve"] => Ok(Task::Serve),
            ["flood", server, size] => Ok(Task::Flood {
                server: address(server)?,
                size: length(size)?,
            }),
            ["ping", server, size, count] => Ok(Task::Ping {
                server: address(server)?,
                size: length(size)?,
                count: count
                    .parse()
                    .map_err(|_| format!("bad count {count:?}: a whole number is wanted"))?,
            }),
            _ => Err(USAGE.to_owned()),
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("bad address {text:?}: IP:PORT is wanted"))
}

fn length(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=MAX_SIZE) => Ok(size),
        _ => Err(format!(
            "bad size {text:?}: 1 to {MAX_SIZE} bytes are wanted"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Task, String> {
        let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Task::parse(&fields)
    }

    #[test]
    fn good_arguments() {
        let server = "127.0.0.1:4433".parse().unwrap();
        assert_eq!(parse("serve"), Ok(Task::Serve));
        assert_eq!(
            parse("flood 127.0.0.1:4433 16"),
            Ok(Task::Flood { server, size: 16 })
        );
        assert_eq!(
            parse("ping 127.0.0.1:4433 64 2000"),
            Ok(Task::Ping {
                server,
                size: 64,
                count: 2000
            })
        );
    }

    #[test]
    fn bad_arguments() {
        for line in [
            "",
            "sing",
            "serve now",
            "flood 127.0.0.1:4433",
            "flood localhost 16",
            "flood 127.0.0.1:4433 0",
            "flood 127.0.0.1:4433 16777217",
            "ping 127.0.0.1:4433 64",
            "ping 127.0.0.1:4433 64 -1",
        ] {
            assert!(parse(line).is_err(), "{line:?} is taken");
        }
    }
}
