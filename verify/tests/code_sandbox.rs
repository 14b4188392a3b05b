//! Every layer of the sandbox alone, and all together, against programs that try to get out. Each program stops by
//! itself before it does harm.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use flowrl_verify::code::sandbox::{
    End, Job, Launcher, Layers, Limits, Mode, Outcome, Permission, Sandbox, SandboxError, enter, probe,
};

/// The process that confines itself: the sandbox starts this test binary again with this test alone.
#[test]
fn helper() {
    if std::env::var_os("FLOWRL_SANDBOX").is_some() {
        enter();
    }
}

/// Returns the launcher that leads to [`helper`].
pub(crate) fn launcher() -> Launcher {
    Launcher::this_program(["--exact", "code_sandbox::helper", "--nocapture", "--quiet"])
}

pub(crate) fn permission() -> Permission {
    Permission::from_flag(true).unwrap()
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.disk = 4 << 20;
    limits
}

/// Returns layers in the order user, limits, bubblewrap, landlock, seccomp.
fn layers([uid, rlimits, bubblewrap, landlock, seccomp]: [bool; 5]) -> Layers {
    let mut layers = Layers::default();
    (layers.uid, layers.rlimits, layers.bubblewrap) = (uid, rlimits, bubblewrap);
    (layers.landlock, layers.seccomp) = (landlock, seccomp);
    layers
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|data| std::os::unix::fs::MetadataExt::uid(&data) == 0)
}

fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Targets of the programs.
struct Target {
    folder: tempfile::TempDir,
    tcp: TcpListener,
    _unix: UnixListener,
    victim: Child,
}

impl Target {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let open = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        open(folder.path(), 0o755);
        let (home, outside) = (folder.path().join("home"), folder.path().join("outside"));
        std::fs::create_dir(&home).unwrap();
        std::fs::write(home.join("secret"), "secret").unwrap();
        open(&home, 0o700);
        std::fs::create_dir(&outside).unwrap();
        open(&outside, 0o777);
        let unix = UnixListener::bind(outside.join("socket")).unwrap();
        open(&outside.join("socket"), 0o777);
        let victim = Command::new("sleep").arg("60").spawn().unwrap();
        Self { folder, tcp: TcpListener::bind("127.0.0.1:0").unwrap(), _unix: unix, victim }
    }

    /// Returns the program of an attack, which prints `escaped` if it succeeds.
    fn program(&self, attack: &str) -> String {
        let body = match attack {
            "fork" => FORK,
            "network" => "socket.create_connection(('127.0.0.1', PORT), 2)\n",
            "socket" => "s = socket.socket(socket.AF_UNIX)\ns.connect(OUTSIDE + '/socket')\n",
            "home" => "assert open(HOME + '/secret').read() == 'secret'\n",
            "file" => "with open('big', 'wb') as f:\n    for _ in range(64):\n        f.write(bytes(1 << 20))\n",
            "files" => "fill('.')\n",
            "outside" => "fill(OUTSIDE)\n",
            "environment" => "open('/proc/%d/environ' % PARENT).read()\n",
            "parent" => "os.kill(PARENT, 0)\n",
            "signal" => "os.kill(VICTIM, 15)\n",
            "daemon" => DAEMON,
            _ => unreachable!(),
        };
        let folder = self.folder.path().to_str().unwrap();
        let body = body.replace('\n', "\n    ");
        format!(
            "import os, socket, sys, time\nPORT, PARENT, VICTIM = {}, {}, {}\nHOME, OUTSIDE, MARK = {:?}, {:?}, {:?}\n{FILL}\ntry:\n    {body}\n    \
             print('escaped', flush=True)\nexcept OSError as error:\n    print('held:', error)\n",
            self.tcp.local_addr().unwrap().port(),
            std::process::id(),
            self.victim.id(),
            format!("{folder}/home"),
            format!("{folder}/outside"),
            self.mark(),
        )
    }

    /// Returns the mark in the command line of the daemon.
    fn mark(&self) -> String {
        format!("daemon of {}", self.folder.path().display())
    }

    /// Returns whether an attack came through.
    fn escaped(&mut self, attack: &str, outcome: &Outcome) -> bool {
        let said = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let ended = outcome.end == End::Disk && ["files", "file"].contains(&attack);
        assert!(ended || said.contains("escaped") || said.contains("held"), "{attack}: {outcome:?}");
        match attack {
            "signal" => !is_running(&mut self.victim),
            "daemon" => self.daemon_lives(),
            _ => said.contains("escaped"),
        }
    }

    /// Returns whether the daemon is alive after there was time to end it, and ends it.
    fn daemon_lives(&self) -> bool {
        let find = || {
            let entries = std::fs::read_dir("/proc").unwrap().flatten();
            let with_mark = |path: &Path| {
                std::fs::read(path.join("cmdline"))
                    .is_ok_and(|line| String::from_utf8_lossy(&line).contains(&self.mark()))
            };
            entries.map(|entry| entry.path()).find(|path| with_mark(path))
        };
        for _ in 0..20 {
            if find().is_none() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let pid = find().and_then(|path| Some(path.file_name()?.to_owned()));
        pid.is_some_and(|pid| Command::new("kill").arg("-9").arg(pid).status().is_ok())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.victim.kill().ok();
        self.victim.wait().ok();
    }
}

fn is_running(child: &mut Child) -> bool {
    // A signal takes a moment to arrive.
    std::thread::sleep(Duration::from_millis(50));
    child.try_wait().unwrap().is_none()
}

const FORK: &str = "\
children = 0
while children < 200:
    if os.fork() == 0:
        time.sleep(3)
        os._exit(0)
    children += 1
";

const FILL: &str = "\
def fill(folder):
    for i in range(64):
        with open(folder + '/part%d' % i, 'wb') as f:
            f.write(bytes(1 << 20))
        time.sleep(0.005)
";

const DAEMON: &str = "\
ready, done = os.pipe()
if os.fork() == 0:
    try:
        os.setsid()
    except OSError:
        pass
    if os.fork():
        os._exit(0)
    for fd in range(3):
        os.dup2(os.open('/dev/null', os.O_RDWR), fd)
    os.set_inheritable(done, True)
    code = 'import os, sys, time; os.write(int(sys.argv[1]), b\"x\"); time.sleep(10)'
    os.execv(sys.executable, [sys.executable, '-c', code, str(done), MARK])
os.read(ready, 1)
";

/// All attacks.
const ALL: [&str; 11] =
    ["fork", "network", "socket", "home", "file", "files", "outside", "environment", "parent", "signal", "daemon"];

/// Runs attacks under layers, all of which must fail.
fn holds(name: &str, layers: Layers, attacks: &[&str]) {
    let sandbox = match Sandbox::with_layers(permission(), launcher(), None, limits(), layers) {
        Ok(sandbox) => sandbox,
        Err(error) => return eprintln!("skipped: {name}: {error}"),
    };
    for attack in attacks {
        let (escaped, outcome) = attempt(&sandbox, attack);
        assert!(!escaped, "{name} does not hold {attack}: {outcome:?}");
    }
}

/// Locked for writing while processes multiply: where programs share their user, they would count for others.
pub(crate) static CROWD: RwLock<()> = RwLock::new(());

fn attempt(sandbox: &Sandbox, attack: &str) -> (bool, Outcome) {
    let alone = (attack == "fork").then(|| CROWD.write().unwrap_or_else(PoisonError::into_inner));
    let _together = alone.is_none().then(|| CROWD.read().unwrap_or_else(PoisonError::into_inner));
    let mut target = Target::new();
    let code = target.program(attack);
    let outcome = sandbox.run(&Job { mode: Mode::Script, code: &code, stdin: "" }).unwrap();
    (target.escaped(attack, &outcome), outcome)
}

#[test]
fn without_layers_the_attacks_succeed() {
    let none = layers([false; 5]);
    let sandbox = match Sandbox::with_layers(permission(), launcher(), None, Limits::default(), none) {
        Ok(sandbox) => sandbox,
        Err(error) => return eprintln!("skipped: {error}"),
    };
    // Files in the program's own folder are counted in any case.
    for attack in ALL.into_iter().filter(|attack| !["file", "files"].contains(attack)) {
        let (escaped, outcome) = attempt(&sandbox, attack);
        assert!(escaped, "{attack} does not work even without a sandbox: {outcome:?}");
    }
}

#[test]
fn limits_hold_processes_and_files() {
    // The kernel exempts root from the limit of processes, so there they come with a user.
    holds("limits", layers([is_root(), true, false, false, false]), &["fork", "file", "files"]);
}

#[test]
fn a_user_of_its_own_holds_the_home_signals_and_daemons() {
    if !is_root() {
        return eprintln!("skipped: own user: only root can give one");
    }
    holds(
        "own user",
        layers([true, false, false, false, false]),
        &["home", "environment", "parent", "signal", "daemon"],
    );
}

#[test]
fn bubblewrap_holds_all_but_processes() {
    let attacks =
        ["network", "socket", "home", "file", "files", "outside", "environment", "parent", "signal", "daemon"];
    holds("bubblewrap", layers([false, false, true, false, false]), &attacks);
}

#[test]
fn landlock_holds_files() {
    let landlock = layers([false, false, false, true, false]);
    holds("landlock", landlock, &["home", "file", "files", "outside", "environment"]);
    for (version, attacks) in [((6, 7), &["network"][..]), ((6, 12), &["parent", "signal"])] {
        match kernel() >= version {
            true => holds("landlock", landlock, attacks),
            false => eprintln!("skipped: landlock against {attacks:?}: it needs Linux {version:?}"),
        }
    }
}

#[test]
fn seccomp_holds_sockets_signals_and_daemons() {
    let seccomp = layers([false, false, false, false, true]);
    holds("seccomp", seccomp, &["network", "socket", "parent", "signal", "daemon"]);
}

#[test]
fn the_whole_holds_everything() {
    let root = is_root();
    holds("landlock and seccomp", layers([root, true, false, true, true]), &ALL);
    holds("bubblewrap and seccomp", layers([root, true, true, false, true]), &ALL);
    match Sandbox::open(permission(), launcher(), None, limits()) {
        Ok(sandbox) => {
            let layers = sandbox.layers();
            eprintln!("{layers}; {}", sandbox.note().unwrap_or("the first interpreter on PATH"));
            assert!(layers.rlimits && (layers.bubblewrap || layers.landlock && layers.seccomp), "{layers}");
            assert_eq!(layers.uid, root);
        }
        Err(error) => {
            eprintln!("skipped: {error}");
            let refused = matches!(error, SandboxError::Refused(_) | SandboxError::Python(_));
            assert!(refused, "{error}");
        }
    }
    eprintln!("{}", probe(&launcher(), None));
}

#[test]
fn nothing_runs_without_the_flag() {
    let error = Permission::from_flag(false).unwrap_err();
    assert!(error.to_string().contains("--allow-code-execution"), "{error}");
}

#[test]
fn an_interpreter_that_is_not_there_is_named() {
    let python = Some(Path::new("/no/such/python"));
    let error = Sandbox::open(permission(), launcher(), python, limits()).unwrap_err().to_string();
    assert!(error.contains("/no/such/python (from --python)"), "{error}");
}

#[test]
fn a_launcher_that_does_not_confine_is_a_failure() {
    let launcher = Launcher::this_program(["--exact", "no_such_test"]);
    let error = Sandbox::open(permission(), launcher, None, limits()).unwrap_err().to_string();
    assert!(error.contains("did not start"), "{error}");
}
