use std::env;
use std::process::ExitCode;

use tokio::runtime::Runtime;

use crate::arguments::Task;
use crate::commands::Commands;
use crate::flood::flood;
use crate::ping::ping;
use crate::serve::serve;
use crate::{Link, Result, Stack};

/// The whole of a program: does what the command line says, with the stack S. The status is 2 for
/// bad arguments and 1 for a failure, each with a line on standard error.
pub fn run<S: Stack>() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let task = match Task::parse(&arguments) {
        Ok(task) => task,
        Err(complaint) => {
            eprintln!("{complaint}");
            return ExitCode::from(2);
        }
    };
    match start::<S>(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut line = failure.to_string();
            let mut cause = failure.source();
            while let Some(deeper) = cause {
                line = format!("{line}: {deeper}");
                cause = deeper.source();
            }
            eprintln!("{line}");
            ExitCode::FAILURE
        }
    }
}

fn start<S: Stack>(task: Task) -> Result<()> {
    let runtime = Runtime::new()?;
    // As a task, not in this thread: a worker of the runtime passes what it wakes on to itself,
    // where this thread would have to be woken by the system (measured: 50 against 80 µs a ping).
    let result = runtime.block_on(async { tokio::spawn(perform::<S>(task)).await? });
    runtime.shutdown_background();
    result
}

async fn perform<S: Stack>(task: Task) -> Result<()> {
    let mut commands = Commands::start();
    match task {
        Task::Serve => serve::<S>(commands).await,
        Task::Flood { server, size } => {
            let link = S::connect(server).await?;
            let result = flood(&link, size, &mut commands).await;
            link.close().await;
            result
        }
        Task::Ping {
            server,
            size,
            count,
        } => {
            let link = S::connect(server).await?;
            let result = ping(&link, size, count, &mut commands).await;
            link.close().await;
            result
        }
    }
}
