//! Plays one scene in every process that has callbacks: in the start callback (the master, in BASE
//! mode the first worker), in the manager's, in each worker's, and in a receive callback.

use crate::common::api::Handle;
use crate::common::{Client, Outcome, Running, Setup, STEP};
use crate::report;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::OnceLock;

/// Where a scene is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Start,
    Manager,
    Worker,
    Receive,
}

/// What is played. It calls [`end`] when all is as it should be, and panics otherwise.
pub type Scene = fn(Handle, Place);

static SCENE: OnceLock<Scene> = OnceLock::new();

thread_local! {
    /// Scenes of one unit are played one after the other.
    static WAITING: RefCell<VecDeque<Place>> = const { RefCell::new(VecDeque::new()) };
    static IS_PLAYING: Cell<bool> = const { Cell::new(false) };
}

pub fn play_everywhere(setup: &Setup, scene: Scene) -> Outcome {
    SCENE.get_or_init(|| scene);
    let server = setup.server()?;
    server.on("start", |server, _| play(server, Place::Start))?;
    server.on("managerStart", |server, _| play(server, Place::Manager))?;
    server.on("workerStart", |server, _| play(server, Place::Worker))?;
    server.on("receive", |server, _| play(server, Place::Receive))?;
    server.start()?;
    Ok(())
}

fn play(server: Handle, place: Place) {
    if IS_PLAYING.with(|is_playing| is_playing.replace(true)) {
        WAITING.with(|waiting| waiting.borrow_mut().push_back(place));
        return;
    }
    SCENE.get().expect("a scene")(server, place);
}

/// The scene has been played well.
pub fn end(server: Handle, place: Place) {
    report!("{place:?} done");
    IS_PLAYING.with(|is_playing| is_playing.set(false));
    if let Some(next) = WAITING.with(|waiting| waiting.borrow_mut().pop_front()) {
        play(server, next);
    }
}

/// Waits until the scene has been played in every place.
pub fn all_is_played(server: &Running) -> Outcome {
    for (place, count) in [("Start", 1), ("Manager", 1), ("Worker", 2)] {
        server.wait_lines(count, |line| line == format!("{place} done"), STEP)?;
    }
    let mut client: Client = server.connect()?;
    client.send(b"play")?;
    server.wait_line(|line| line == "Receive done", STEP)?;
    Ok(())
}
