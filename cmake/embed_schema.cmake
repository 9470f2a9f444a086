# cmake -P script: SET (descriptor set), HEADERS (generated *.pb-c.h below ROOT) -> OUT, a C file with the bytes of the
# set and a table of every message descriptor that the headers declare.

file(READ ${SET} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],)" "\\1\n" bytes "${bytes}")

set(includes "")
set(table "")
foreach(header IN LISTS HEADERS)
	file(RELATIVE_PATH name ${ROOT} ${header})
	string(APPEND includes "#include \"proto/${name}\"\n")
	file(STRINGS ${header} lines REGEX "^extern const ProtobufCMessageDescriptor ")
	foreach(line IN LISTS lines)
		string(REGEX MATCH "[A-Za-z0-9_]+__descriptor" symbol "${line}")
		string(APPEND table "\t&${symbol},\n")
	endforeach()
endforeach()

file(WRITE ${OUT} "${includes}#include \"common/pb/embedded.h\"\n
const unsigned char lw_descriptor_set[] = {\n${bytes}};
const size_t lw_descriptor_set_size = sizeof(lw_descriptor_set);
const ProtobufCMessageDescriptor *const lw_message_descriptors[] = {\n${table}};
const size_t lw_message_descriptors_count = sizeof(lw_message_descriptors) / sizeof(lw_message_descriptors[0]);
")
