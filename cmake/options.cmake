# Compiler flags for every target of the project: warnings through lw_warnings (linked by default, so that a library needs
# no line for it), sanitizers and hardening by option.

find_program(LW_CCACHE ccache)
if(LW_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
	set(CMAKE_C_COMPILER_LAUNCHER ${LW_CCACHE})
endif()

add_library(lw_warnings INTERFACE)
target_compile_options(lw_warnings INTERFACE
	-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wvla -Wformat=2 -Wundef
	$<$<BOOL:${LW_WERROR}>:-Werror>)
link_libraries(lw_warnings)

add_compile_options(-fno-omit-frame-pointer -fno-common)
add_compile_definitions(_GNU_SOURCE LW_VERSION="${PROJECT_VERSION}")
include_directories(${CMAKE_SOURCE_DIR})

set(CMAKE_POSITION_INDEPENDENT_CODE ON)
# A daemon loads only the libraries that it uses: each costs memory in every process.
add_link_options(-Wl,--as-needed)

if(LW_HARDEN)
	add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection)
	add_link_options(-pie -Wl,-z,relro,-z,now,-z,noexecstack)
endif()

if(LW_LTO)
	include(CheckIPOSupported)
	check_ipo_supported(RESULT lto_ok OUTPUT lto_text LANGUAGES C)
	if(lto_ok)
		set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
	endif()
endif()

if(LW_ASAN)
	add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
	add_link_options(-fsanitize=address,undefined)
endif()

if(LW_TSAN)
	add_compile_options(-fsanitize=thread)
	add_link_options(-fsanitize=thread)
endif()

if(LW_FUZZ)
	if(NOT CMAKE_C_COMPILER_ID MATCHES Clang)
		message(FATAL_ERROR "LW_FUZZ needs clang: configure with the preset 'fuzz'")
	endif()
	add_compile_options(-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all)
	add_link_options(-fsanitize=address,undefined)
endif()

if(LW_COVERAGE)
	add_compile_options(--coverage)
	add_link_options(--coverage)
endif()
