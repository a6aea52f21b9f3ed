# The examples once more, watched by the sanitizers of the compiler, each in every mode, and by
# valgrind: neither finds anything. `wrong` does what both of them have to find. The labels are
# `sanitize` and `valgrind`. Included by c-examples, whose lists it walks.

include(CheckCSourceCompiles)

set(memory_dir ${CMAKE_CURRENT_LIST_DIR})
set(CMAKE_REQUIRED_FLAGS "-fsanitize=address,undefined")
check_c_source_compiles("int main(void) { return 0; }" has_sanitizers)
unset(CMAKE_REQUIRED_FLAGS)
set(sanitize -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
option(SWOOLE_VALGRIND_ALL "Run each example under valgrind in every mode" OFF)
find_program(valgrind_program NAMES valgrind)

# A test of a target in a mode, by a kind of checker.
function(add_memory_test kind target mode session)
    get_filename_component(name ${session} NAME)
    set(test ${kind}::${mode}::${name})
    set(more)
    if("${kind}" STREQUAL "valgrind")
        set(more -D valgrind=${valgrind_program} -D lender=$<TARGET_FILE:lender>
            -D lent=$<TARGET_FILE:lent>)
    endif()
    add_test(NAME ${test} COMMAND ${CMAKE_COMMAND}
        -D play=$<TARGET_FILE:play> -D example=$<TARGET_FILE:${target}> -D mode=${mode_${mode}}
        -D session=${session}.session -D expected=${session}.expected
        -D work=${CMAKE_CURRENT_BINARY_DIR}/${kind}-${mode}-${name} ${more}
        -P ${memory_dir}/play.cmake)
    set_tests_properties(${test} PROPERTIES TIMEOUT 120 LABELS ${kind})
endfunction()

# A twin of a target with the sanitizers in it.
function(add_sanitized target source)
    add_executable(${target}_sanitized ${source})
    target_compile_options(${target}_sanitized PRIVATE ${sanitize})
    target_link_options(${target}_sanitized PRIVATE ${sanitize})
    target_link_libraries(${target}_sanitized PRIVATE swoole::swoole)
endfunction()

# What has to be found, and what each of them says then.
function(add_wrong_test kind target session words)
    add_memory_test(${kind} ${target} base ${memory_dir}/${session})
    set_tests_properties(${kind}::base::${session} PROPERTIES PASS_REGULAR_EXPRESSION ${words})
endfunction()

if(has_sanitizers)
    foreach(name ${examples})
        add_sanitized(${name} ${name}.c)
        foreach(mode ${modes_${name}})
            add_memory_test(sanitize ${name}_sanitized ${mode}
                ${CMAKE_CURRENT_SOURCE_DIR}/${name})
        endforeach()
    endforeach()
    target_compile_definitions(tls_echo_sanitized PRIVATE ${tls_definitions})
    add_sanitized(wrong ${memory_dir}/wrong.c)
    add_wrong_test(sanitize wrong_sanitized forget "detected memory leaks")
    add_wrong_test(sanitize wrong_sanitized freed "heap-use-after-free")
else()
    message(WARNING "This compiler has no sanitizers: the examples are NOT tested with them")
endif()

if(valgrind_program)
    add_executable(lender ${memory_dir}/lender.c)
    add_library(lent MODULE ${memory_dir}/lent.c)
    target_link_libraries(lent PRIVATE ${CMAKE_DL_LIBS})
    # It is slow: where the modes differ little, two examples stand for the others.
    foreach(name ${examples})
        set(modes process)
        if(name MATCHES "^(echo|task)$" OR SWOOLE_VALGRIND_ALL)
            set(modes ${modes_${name}})
        endif()
        foreach(mode ${modes})
            add_memory_test(valgrind ${name} ${mode} ${CMAKE_CURRENT_SOURCE_DIR}/${name})
        endforeach()
    endforeach()
    add_executable(wrong ${memory_dir}/wrong.c)
    target_link_libraries(wrong PRIVATE swoole::swoole)
    add_wrong_test(valgrind wrong forget "definitely lost")
    add_wrong_test(valgrind wrong freed "Invalid write")
else()
    message(WARNING "There is no valgrind: the examples are NOT tested with it")
endif()
