# Installs the library into a folder of its own and builds a foreign project against it, by
# find_package and by pkg-config, shared and static. Called by CTest with build, foreign, work, cc, and cxx if there is one.

set(prefix ${work}/prefix)

function(run)
    execute_process(COMMAND ${ARGN} RESULT_VARIABLE result OUTPUT_VARIABLE output
        ERROR_VARIABLE error)
    if(NOT result EQUAL 0)
        list(JOIN ARGN " " command)
        message(FATAL_ERROR "${command}\n${output}${error}(${result})")
    endif()
    set(output "${output}" PARENT_SCOPE)
endfunction()

# A program must start without any help and say the version; a static one without the library.
function(check program)
    run(${program})
    if(NOT output MATCHES "^swoole [0-9]+\\.[0-9]+\\.[0-9]+")
        message(FATAL_ERROR "${program} printed: ${output}")
    endif()
    run(ldd ${program})
    get_filename_component(name ${program} NAME)
    if(name MATCHES "static" AND output MATCHES "libswoole")
        message(FATAL_ERROR "${program} needs the shared library: ${output}")
    endif()
    if(NOT name MATCHES "static" AND NOT output MATCHES "libswoole\\.so\\.[0-9]+ => ${prefix}")
        message(FATAL_ERROR "${program} does not use the installed library: ${output}")
    endif()
endfunction()

file(REMOVE_RECURSE ${work})
run(${CMAKE_COMMAND} --install ${build} --prefix ${prefix})

run(${CMAKE_COMMAND} -S ${foreign} -B ${work}/build -D CMAKE_PREFIX_PATH=${prefix}
    -D CMAKE_C_COMPILER=${cc})
run(${CMAKE_COMMAND} --build ${work}/build)
check(${work}/build/shared)
check(${work}/build/static)

# Nothing that a program has by the same name may meet what is inside the library.
find_program(nm NAMES nm)
if(NOT nm)
    message(FATAL_ERROR "nm is missing: scripts/setup installs it")
endif()
file(GLOB_RECURSE library ${prefix}/libswoole.so)
run(${nm} -D --defined-only --format=posix ${library})
string(REGEX MATCHALL "[^\n]+" symbols "${output}")
list(FILTER symbols EXCLUDE REGEX "^sw_[a-z0-9_]+(@| )")
if(NOT output MATCHES "sw_version" OR symbols)
    message(FATAL_ERROR "${library} exports what is not of the interface: ${symbols}")
endif()

find_program(pkg_config NAMES pkg-config pkgconf)
if(NOT pkg_config)
    message(FATAL_ERROR "pkg-config is missing: scripts/setup installs it")
endif()
file(GLOB_RECURSE pc_file ${prefix}/swoole.pc)
get_filename_component(pc_dir ${pc_file} DIRECTORY)
get_filename_component(lib_dir ${pc_dir} DIRECTORY)
set(ENV{PKG_CONFIG_PATH} ${pc_dir})
foreach(package swoole swoole-static)
    run(${pkg_config} --cflags --libs ${package})
    separate_arguments(flags UNIX_COMMAND "${output}")
    run(${cc} ${foreign}/main.c -o ${work}/by-${package} ${flags} -Wl,-rpath,${lib_dir})
    check(${work}/by-${package})
endforeach()

# In C++ it is one more header beside the same library.
if(cxx)
    run(${pkg_config} --cflags --libs swoole)
    separate_arguments(flags UNIX_COMMAND "${output}")
    run(${cxx} -std=c++17 ${foreign}/main.cpp -o ${work}/in-cpp ${flags} -Wl,-rpath,${lib_dir})
    check(${work}/in-cpp)
endif()
