scotty_test(registry_test MODULES sources)
scotty_test(self_test MODULES sources messages base WRAP_MALLOC)
scotty_test(tricorder_parse_test MODULES sources messages base WRAP_MALLOC)
scotty_test(tricorder_layout_test MODULES sources messages base LIBS Threads::Threads
  SOURCES batch_same.c match_either.c WRAP_MALLOC)
target_link_options(tricorder_layout_test PRIVATE -Wl,--wrap=layout_match_avx2)
scotty_test(tricorder_diff_test MODULES sources messages base LIBS PkgConfig::JSONC)
scotty_test(tricorder_test MODULES sources messages base LIBS scotty_bad_server
  LABEL integration WRAP_MALLOC)
