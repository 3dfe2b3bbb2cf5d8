//! The binary: settings from the command line, then `app::serve`.

use std::process::ExitCode;

use tetrarch::config::{Given, Source, resolve};

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_env_filter("info,openraft=error").with_ansi(false).init();
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "serve").collect();
    let given: Vec<Given> = args
        .chunks_exact(2)
        .filter_map(|pair| {
            let [setting, text] = pair else { return None };
            let setting = setting.trim_start_matches("--").to_owned();
            Some(Given { setting, text: text.clone(), source: Source::Flag })
        })
        .collect();
    let config = match resolve(&given, None) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::from(2);
        }
    };
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the operating system starts threads")
        .block_on(tetrarch::app::serve(config));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause: Option<&dyn std::error::Error> = Some(&error);
            while let Some(error) = cause {
                tracing::error!("{error}");
                cause = error.source();
            }
            ExitCode::FAILURE
        }
    }
}
