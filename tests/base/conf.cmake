foreach(name conf_test conf_value_test conf_opt_test conf_secret_test)
  scotty_test(${name} MODULES base SOURCES conf_fixture.c WRAP_MALLOC)
endforeach()
