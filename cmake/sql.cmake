# lw_embed_sql(<target> <folder> <symbol>)
#   Adds the migrations <folder>/NNNN_name.sql (folder from the source root, or absolute) to the target as
#   "const struct sql_migration_set <symbol>", declared by whoever uses it (common/io/sql_migrate.h).
function(lw_embed_sql target folder symbol)
	get_filename_component(folder ${folder} ABSOLUTE BASE_DIR ${CMAKE_SOURCE_DIR})
	file(GLOB files CONFIGURE_DEPENDS ${folder}/*.sql)
	list(SORT files)
	set(out ${CMAKE_BINARY_DIR}/gen/sql/${symbol}.c)
	add_custom_command(
		OUTPUT ${out}
		COMMAND ${CMAKE_COMMAND} "-DFILES=${files}" -DSYMBOL=${symbol} -DOUT=${out}
			-P ${CMAKE_SOURCE_DIR}/cmake/embed_sql.cmake
		DEPENDS ${files} ${CMAKE_SOURCE_DIR}/cmake/embed_sql.cmake
		COMMENT "embedding ${folder}"
		VERBATIM)
	target_sources(${target} PRIVATE ${out})
endfunction()
