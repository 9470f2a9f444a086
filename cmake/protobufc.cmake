# Code generation from .proto files: C structs by protoc-c, the descriptor set by protoc, and two C files that make both
# reachable at run time. Everything goes to the build folder.

find_program(PROTOC protoc REQUIRED)
find_program(PROTOC_C protoc-c REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PROTOBUF_C REQUIRED IMPORTED_TARGET libprotobuf-c)
find_path(PROTOBUF_INCLUDE google/protobuf/descriptor.proto REQUIRED)

# lw_protobuf_library(<target> ROOT <dir> FILES <relative .proto>… SYSTEM <relative .proto of the system>…)
#   Static library with the code of all files. Include as "proto/<file>.pb-c.h"; "lw_descriptor_set" and
#   "lw_message_descriptors" are declared in common/pb/embedded.h.
function(lw_protobuf_library target)
	cmake_parse_arguments(ARG "" "ROOT" "FILES;SYSTEM" ${ARGN})
	set(gen ${CMAKE_BINARY_DIR}/gen)
	set(out ${gen}/proto)
	file(MAKE_DIRECTORY ${out})

	set(sources)
	set(headers)
	set(inputs)
	foreach(file IN LISTS ARG_FILES ARG_SYSTEM)
		string(REGEX REPLACE "\\.proto$" "" stem ${file})
		list(APPEND sources ${out}/${stem}.pb-c.c)
		list(APPEND headers ${out}/${stem}.pb-c.h)
		if(file IN_LIST ARG_SYSTEM)
			list(APPEND inputs ${PROTOBUF_INCLUDE}/${file})
		else()
			list(APPEND inputs ${ARG_ROOT}/${file})
		endif()
	endforeach()

	# One run for all: the files import each other, so a change of one concerns most.
	add_custom_command(
		OUTPUT ${sources} ${headers}
		COMMAND ${PROTOC_C} -I${ARG_ROOT} -I${PROTOBUF_INCLUDE} --c_out=${out} ${ARG_FILES} ${ARG_SYSTEM}
		DEPENDS ${inputs}
		COMMENT "protoc-c"
		VERBATIM)
	add_custom_command(
		OUTPUT ${gen}/descriptor_set.bin
		COMMAND ${PROTOC} -I${ARG_ROOT} -I${PROTOBUF_INCLUDE} --include_imports
			--descriptor_set_out=${gen}/descriptor_set.bin ${ARG_FILES}
		DEPENDS ${inputs}
		COMMENT "protoc --descriptor_set_out"
		VERBATIM)
	add_custom_command(
		OUTPUT ${gen}/embedded.c
		COMMAND ${CMAKE_COMMAND} -DSET=${gen}/descriptor_set.bin "-DHEADERS=${headers}" -DROOT=${out}
			-DOUT=${gen}/embedded.c -P ${CMAKE_SOURCE_DIR}/cmake/embed_schema.cmake
		DEPENDS ${gen}/descriptor_set.bin ${headers} ${CMAKE_SOURCE_DIR}/cmake/embed_schema.cmake
		COMMENT "embedding the schema"
		VERBATIM)

	add_library(${target} STATIC ${sources} ${headers} ${gen}/embedded.c)
	target_include_directories(${target} SYSTEM PUBLIC ${gen} ${out})
	target_include_directories(${target} PRIVATE ${CMAKE_SOURCE_DIR})
	target_link_libraries(${target} PUBLIC PkgConfig::PROTOBUF_C)
	target_compile_options(${target} PRIVATE -w)
	# Others must not compile before the headers exist.
	add_custom_target(${target}_headers DEPENDS ${headers})
	add_dependencies(${target} ${target}_headers)
endfunction()
