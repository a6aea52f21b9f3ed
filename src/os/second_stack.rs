//! A function that runs on a stack of its own, in the thread that calls it, and can step out in the
//! middle: the caller goes on where it was, and the function where it stepped out as soon as the
//! caller wants it to.
//!
//! A fork copies both stacks, so the child can go on with either. Nothing is ever unwound from
//! outside: a function that was not brought to its end keeps its stack until the process ends.

use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;
use std::ptr;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

/// As much as the first thread of a program usually has. What is never touched costs no memory.
const STACK_BYTES: usize = 8 << 20;

thread_local! {
    /// By what the function steps out; NULL while it does not run.
    static DOOR: Cell<*const Yielder<(), ()>> = const { Cell::new(ptr::null()) };
}

/// A function on its own stack. There is one at a time in a thread.
pub struct SecondStack {
    routine: ManuallyDrop<Coroutine<(), (), (), DefaultStack>>,
}

impl SecondStack {
    /// Makes the stack; `body`, which must not panic, begins with the first [`SecondStack::run`].
    pub fn new(body: impl FnOnce() + 'static) -> io::Result<Self> {
        let stack = DefaultStack::new(STACK_BYTES)?;
        let routine = Coroutine::with_stack(stack, |door: &Yielder<(), ()>, ()| {
            DOOR.set(door);
            body();
            DOOR.set(ptr::null());
        });
        Ok(Self { routine: ManuallyDrop::new(routine) })
    }

    /// Runs the function until it steps out or ends; false when it has ended, and must not be run
    /// again.
    pub fn run(&mut self) -> bool {
        match self.routine.resume(()) {
            CoroutineResult::Yield(()) => true,
            CoroutineResult::Return(()) => false,
        }
    }
}

impl Drop for SecondStack {
    fn drop(&mut self) {
        if self.routine.done() {
            // SAFETY: this is the only place that drops it, and nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.routine) };
        }
    }
}

/// Whether the caller runs on a second stack.
#[inline]
pub fn is_inside() -> bool {
    !DOOR.get().is_null()
}

/// Has [`SecondStack::run`] return, and comes back when it is called again. On any other stack
/// nothing happens.
pub fn step_out() {
    let door = DOOR.replace(ptr::null());
    if door.is_null() {
        return;
    }
    // SAFETY: it was handed to the function that runs on this stack, and lives as long as that; it
    // is found by this thread only while the function runs.
    unsafe { &*door }.suspend(());
    DOOR.set(door);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::passes_in_child;
    use std::rc::Rc;

    /// A function that counts up to 3, and steps out after each step.
    fn counting() -> (SecondStack, Rc<Cell<u32>>) {
        let count = Rc::new(Cell::new(0));
        let told = Rc::clone(&count);
        let stack = SecondStack::new(move || {
            for number in 1..=3 {
                assert!(is_inside());
                told.set(number);
                step_out();
            }
        });
        (stack.unwrap(), count)
    }

    #[test]
    fn both_sides_go_on_where_they_were() {
        let (mut stack, count) = counting();
        for number in 1..=3 {
            assert!(stack.run());
            assert!(!is_inside());
            assert_eq!(count.get(), number);
        }
        assert!(!stack.run());
        assert_eq!(Rc::strong_count(&count), 1);
    }

    #[test]
    fn stepping_out_of_the_first_stack_does_nothing() {
        step_out();
        assert!(!is_inside());
    }

    #[test]
    fn what_is_forked_on_the_second_stack_goes_on_with_the_copy_of_the_first() {
        let (mut stack, count) = counting();
        assert!(stack.run());
        assert!(passes_in_child(|| {
            assert!(stack.run());
            assert_eq!(count.get(), 2);
        }));
        assert_eq!(count.get(), 1);
    }
}
