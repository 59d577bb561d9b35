//! `app.ini`.

use std::net::SocketAddr;
use std::path::Path;

use super::program::Program;

/// Settings of a server for tests: on its own, quiet, with Actions, and with nothing that happens by the clock.
pub(super) fn text(dir: &Path, program: &Program, listen: SocketAddr, url: &str, more: &str) -> String {
    let (dir, files) = (dir.display(), program.files.display());
    let (address, port) = (listen.ip(), listen.port());
    let (user, scheme) = (user(), url.split(':').next().unwrap());
    format!(
        "RUN_MODE = prod\nRUN_USER = {user}\nWORK_PATH = {dir}\nI_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true\n\
         [server]\nHTTP_ADDR = {address}\nHTTP_PORT = {port}\nROOT_URL = {url}/\n\
         LOCAL_ROOT_URL = {scheme}://127.0.0.1:{port}/\nSTATIC_ROOT_PATH = {files}\nDISABLE_SSH = true\n\
         OFFLINE_MODE = true\nLFS_START_SERVER = false\n\
         [database]\nDB_TYPE = sqlite3\nPATH = {dir}/gitea.db\nSQLITE_JOURNAL_MODE = WAL\n\
         [security]\nINSTALL_LOCK = true\n\
         [service]\nDISABLE_REGISTRATION = true\n\
         [actions]\nENABLED = true\n\
         [webhook]\nALLOWED_HOST_LIST = *\nDELIVER_TIMEOUT = 5\n\
         [cron]\nENABLED = false\n\
         [queue]\nTYPE = channel\n\
         [indexer]\nISSUE_INDEXER_TYPE = db\n\
         [repository]\nDEFAULT_BRANCH = main\n\
         [log]\nLEVEL = Info\n{more}"
    )
}

/// More of it, for one with TLS whose certificate and key are in `dir`.
pub(super) fn tls(dir: &Path) -> String {
    let dir = dir.display();
    format!("\n[server]\nPROTOCOL = https\nCERT_FILE = {dir}/tls.pem\nKEY_FILE = {dir}/tls.key\n")
}

/// The name of whoever runs it, which Gitea insists on.
fn user() -> String {
    let said = std::process::Command::new("id").arg("-un").output().expect("id (coreutils) is needed");
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}
