# Checks of the source itself, registered as tests.
find_package(Python3 QUIET COMPONENTS Interpreter)
if(Python3_FOUND)
	add_test(NAME check_includes COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_includes.py)
	set_tests_properties(check_includes PROPERTIES LABELS lint)
	add_test(NAME check_headers COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/tools/check_includes.py
		--headers --cc ${CMAKE_C_COMPILER} --build ${CMAKE_BINARY_DIR})
	set_tests_properties(check_headers PROPERTIES LABELS lint)
endif()
