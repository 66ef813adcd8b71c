scotty_test(resolver_test MODULES sources LIBS Threads::Threads WRAP_MALLOC)
scotty_test(http_test MODULES sources LIBS scotty_bad_server Threads::Threads WRAP_MALLOC
  LABEL integration)
scotty_test(http_tls_test MODULES sources LABEL integration)
scotty_test(http_answer_test MODULES sources WRAP_MALLOC)
scotty_test(http_plain_test MODULES sources LIBS ZLIB::ZLIB WRAP_MALLOC LABEL integration)
