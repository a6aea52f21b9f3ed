//! Commands: functions of the program that whoever stands for the master has run elsewhere.

use crate::error::{code, Error, Result};
use crate::model::command::{CommandHook, Office, ProgramCommand, MANAGER_LIMIT};
use crate::model::plan::Plan;
use crate::model::UnitId;
use crate::unit::Unit;

use super::Server;

fn invalid(text: String) -> Error {
    Error::new(code::INVALID_PARAMS, text)
}

impl Server {
    /// Registers a command that may run in `offices`, the sum of their numbers.
    pub fn add_command(&self, name: &str, offices: i32, hook: CommandHook) -> Result<()> {
        self.configure(|setup| {
            if name.is_empty() {
                return Err(invalid("a command has a name, this one is empty".to_owned()));
            }
            if !Office::are_some(offices) {
                let text = format!("{offices} is no sum of SW_COMMAND_..., see sw_server_command");
                return Err(invalid(text));
            }
            if Office::Reactor.is_in(offices) {
                let text = format!("command {name:?} cannot run in reactor threads, nothing does");
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
            if setup.commands.iter().any(|command| command.name == name) {
                return Err(invalid(format!("there is a command {name:?} already")));
            }
            setup.commands.push(ProgramCommand { name: name.to_owned(), offices, hook });
            Ok(())
        })
    }

    /// Has a command run in a process, and waits for its answer.
    pub fn command(&self, name: &str, id: i32, office: i32, data: &[u8]) -> Result<Vec<u8>> {
        self.with_unit(|unit| {
            check_caller(unit)?;
            let Some(place) = Office::from_number(office) else {
                let text = format!("{office} is not one of SW_COMMAND_..., name exactly one");
                return Err(invalid(text));
            };
            let commands = &unit.runtime().commands;
            let index = commands.iter().position(|command| command.name == name);
            let found = index.and_then(|index| Some((index, commands.get(index)?)));
            let Some((index, command)) = found else {
                let text = format!("there is no command {name:?}, see sw_server_add_command");
                return Err(Error::new(code::SERVER_INVALID_COMMAND, text));
            };
            if !place.is_in(command.offices) {
                let text = format!("command {name:?} does not run in processes of type {office}");
                return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
            }
            let target = target(&unit.runtime().plan, place, id)?;
            if place == Office::Manager && data.len() >= MANAGER_LIMIT {
                let most = MANAGER_LIMIT - 1;
                let text = format!("the manager takes {most} bytes at most, not {}", data.len());
                return Err(Error::new(code::DATA_LENGTH_TOO_LARGE, text));
            }
            match target == unit.plan().id {
                true => unit.run_command(command, data),
                false => unit.ask_for(target, index, data),
            }
        })
    }
}

fn check_caller(unit: &Unit) -> Result<()> {
    let plan = &unit.runtime().plan;
    if !plan.has_commands() {
        let text = "there are no commands in SW_THREAD mode";
        return Err(Error::new(code::OPERATION_NOT_SUPPORT, text));
    }
    if unit.is_in_command() {
        let text = "a command cannot call for another one";
        return Err(Error::new(code::WRONG_OPERATION, text));
    }
    if plan.face() != unit.plan().id {
        let text = "commands are the master's, in SW_BASE mode those of worker 0";
        return Err(invalid(text.to_owned()));
    }
    Ok(())
}

/// The unit that a command is for.
fn target(plan: &Plan, place: Office, id: i32) -> Result<UnitId> {
    let nth = |units: &[UnitId]| {
        let unit = usize::try_from(id).ok().and_then(|index| units.get(index));
        unit.copied().ok_or_else(|| invalid(format!("there is no process {id} of this type")))
    };
    match place {
        Office::Master => Ok(plan.face()),
        Office::EventWorker => nth(plan.workers()),
        Office::TaskWorker => nth(plan.tasks()),
        Office::Manager | Office::Reactor => plan.manager().ok_or_else(|| {
            let text = "there is no manager, the only worker is all there is";
            Error::new(code::OPERATION_NOT_SUPPORT, text)
        }),
    }
}
