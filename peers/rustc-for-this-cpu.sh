#!/bin/sh
# What cargo calls in place of rustc, with rustc and its arguments: compiles for this CPU.
#
# tfhe-rs chooses vector instructions at run time for its transforms only; the rest of it is as fast as the compiler makes it
# for the CPU that it is told of. tfhe-core is left as its users build it, for the baseline CPU.
case " $* " in
*" --crate-name tfhe_core "*) exec "$@" ;;
*) exec "$@" -C target-cpu=native ;;
esac
