# Plays a session with an example and fails if a checker of memory has found anything in any of its
# processes. Called by CTest with play, example, mode, session, expected, work; and with valgrind,
# lender and lent where the example has no sanitizers in it.
#
# What is found is written into files, one a process: a process that ends badly because of it may
# be replaced like any other, and nothing be seen from outside.

file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})
set(command ${play} ${example} ${mode} ${session} ${expected})
if(valgrind)
    # The player, too: of what is not watched, no child is.
    set(command ${lender} ${lent} ${valgrind} --quiet --trace-children=yes --fair-sched=yes
        --leak-check=full --show-leak-kinds=definite --errors-for-leak-kinds=definite
        --log-file=${work}/found.%p ${command})
else()
    set(ENV{ASAN_OPTIONS} "log_path=${work}/found:detect_stack_use_after_return=1")
    set(ENV{UBSAN_OPTIONS} "log_path=${work}/found:print_stacktrace=1")
endif()

execute_process(COMMAND ${command} RESULT_VARIABLE result OUTPUT_VARIABLE output
    ERROR_VARIABLE error)
file(GLOB files ${work}/found.*)
foreach(file IN LISTS files)
    file(READ ${file} text)
    if(text)
        get_filename_component(name ${file} NAME)
        string(APPEND findings "${name}:\n")
    endif()
    string(APPEND findings "${text}")
endforeach()
if(findings OR NOT result EQUAL 0)
    message("${output}${error}${findings}")
    message(FATAL_ERROR "${example} in mode ${mode}: ${result}, see above")
endif()
